//! How claimed messages end: what a consumer puts into a settlement.

use gristmill_broker::{
    ClaimFlag, ClaimedMessage, Dead, Destination, Ending, ParkedList, Replacement, Run, Settlement,
};
use gristmill_shared::dead_letter::Epitaph;
use gristmill_shared::{Body, Failure, KernelName, Message, Outcome, OutcomeKind};

use crate::model::Held;
use crate::ops::Fate;
use crate::producers::KERNELS;

/// The end of `done`, whose tasks meet `fates` in turn. `nonce` makes outcomes differ from all others.
pub fn settlement(
    done: &[ClaimedMessage],
    fates: &[Fate],
    knows_strange: bool,
    nonce: u64,
    now: u64,
) -> Held<Settlement> {
    let mut what = Settlement::default();
    let mut fates = fates.iter().copied().cycle();
    for claimed in done {
        let message = Message::parse(&claimed.bytes)?;
        let body = message.read_body()?;
        what.take.push((message.header.batch, message.header.queue.clone()));
        let ending = &mut what.ending;
        match &claimed.flag {
            ClaimFlag::Cancelled | ClaimFlag::OverBudget(_) => unrun(ending, &message, OutcomeKind::Cancelled, nonce),
            ClaimFlag::Expired => unrun(ending, &message, OutcomeKind::Expired, nonce),
            _ if body.kernel == KERNELS[1] && !knows_strange => {
                let to = Destination::Parked(ParkedList::Kernel(KernelName::new(body.kernel)?));
                ending.replacements.push(Replacement { message, to });
            }
            flag => {
                let cancelled: &[u64] = if let ClaimFlag::SomeCancelled(tasks) = flag { tasks } else { &[] };
                for item in 0..message.header.count {
                    let index = message.header.first + u64::from(item);
                    if cancelled.contains(&index) {
                        record(ending, &message, item, bad(OutcomeKind::Cancelled, nonce));
                    } else {
                        let fate = fates.next().unwrap_or(Fate::Succeeds);
                        end_item(ending, &message, &body, item, fate, nonce, now)?;
                    }
                }
            }
        }
    }
    Ok(what)
}

fn bad(kind: OutcomeKind, nonce: u64) -> Outcome {
    Outcome::Bad(kind, Failure::new(format!("ended by call {nonce}"), 1))
}

fn unrun(ending: &mut Ending, message: &Message, kind: OutcomeKind, nonce: u64) {
    for item in 0..message.header.count {
        record(ending, message, item, bad(kind, nonce));
    }
}

/// Appends an outcome to the run that ends before it, or begins one. A dead letter is a run of its own.
fn record(ending: &mut Ending, message: &Message, item: u32, outcome: Outcome) {
    let header = &message.header;
    let first = header.first + u64::from(item);
    let continues = |run: &&mut Run| {
        let ends_here = run.batch == header.batch && run.first + run.outcomes.len() as u64 == first;
        let dead = run.outcomes.iter().any(|outcome| outcome.kind().is_dead_letter());
        // Runs do not reach over messages: the bucket is that of the first index.
        ends_here && item > 0 && !dead && !outcome.kind().is_dead_letter()
    };
    match ending.runs.last_mut().filter(continues) {
        Some(run) => run.outcomes.push(outcome),
        None => {
            let (single, outcomes) = (header.is_single(), vec![outcome]);
            ending.runs.push(Run { batch: header.batch, single, first, outcomes, times: Vec::new() })
        }
    }
}

fn end_item(ending: &mut Ending, message: &Message, body: &Body, item: u32, fate: Fate, nonce: u64, now: u64) -> Held {
    let mut own = message.slice(body, item..item + 1)?;
    let due_at_ms = now + 3_000;
    // A retry that would be due too late is final now.
    let retries = own.header.attempt < 4 && due_at_ms <= own.header.expires_at_ms;
    let (kind, to) = match fate {
        Fate::Succeeds => {
            record(ending, message, item, Outcome::Value(nonce.to_be_bytes().to_vec()));
            return Ok(());
        }
        Fate::RetriesNow if retries => (OutcomeKind::Failed, Some(Destination::Back)),
        Fate::RetriesLater if retries => (OutcomeKind::Failed, Some(Destination::Scheduled { due_at_ms })),
        Fate::TimesOut => (OutcomeKind::TimedOut, None),
        _ => (OutcomeKind::Failed, None),
    };
    if let Some(to) = to {
        own.header.attempt += 1;
        ending.replacements.push(Replacement { message: own, to });
        return Ok(());
    }
    let outcome = bad(kind, nonce);
    if let Outcome::Bad(_, failure) = &outcome {
        ending.dead.push(Dead { epitaph: Epitaph::new(kind, &body.kernel, failure), message: own });
    }
    record(ending, message, item, outcome);
    Ok(())
}
