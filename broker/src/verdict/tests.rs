use gristmill_shared::{BatchId, Certificate, Header, Lane, QueueName, codec};

use super::*;

const NOW_MS: u64 = 1_000_000;

fn suspect(count: u32, cause: DeathCause, item: Option<u32>) -> (Suspect, Body) {
    let args = (0..count).map(|i| codec::encode(&i).unwrap().into()).collect();
    let body = Body { kernel: "square".into(), args, blob: None, options: TaskOptions::default(), ..Body::default() };
    let header = Header {
        version: 1,
        flags: 0,
        lane: Lane::Normal,
        attempt: 1,
        crashes: 0,
        losses: 0,
        expires_at_ms: NOW_MS * 100,
        batch: BatchId::new(),
        first: 100,
        count,
        blob_offset: 0,
        queue: QueueName::new("default").unwrap(),
    };
    let certificate = Certificate { item, ..Certificate::unseen(cause, "c", "killed by SIGSEGV") };
    (Suspect { at_ms: NOW_MS, certificate, message: Message::new(header, &body).unwrap() }, body)
}

fn options(retries: u16) -> EffectiveOptions {
    EffectiveOptions { retries, ..EffectiveOptions::of(KernelOptions::default(), &TaskOptions::default()) }
}

/// (first, count, crashes, losses, attempt) of each replacement.
fn shape(ending: &Ending) -> Vec<(u64, u32, u8, u8, u16)> {
    let of = |r: &Replacement| {
        let h = &r.message.header;
        (h.first, h.count, h.crashes, h.losses, h.attempt)
    };
    ending.replacements.iter().map(of).collect()
}

#[test]
fn what_a_task_says_comes_before_what_its_kernel_declares() {
    let of = |kernel, task| {
        let kernel = KernelOptions { ignore_result: kernel, ..KernelOptions::default() };
        let task = TaskOptions { ignore_result: task, ..TaskOptions::default() };
        EffectiveOptions::of(kernel, &task).ignore_result
    };
    assert!(!of(None, None) && of(Some(true), None) && of(None, Some(true)));
    assert!(of(Some(false), Some(true)) && !of(Some(true), Some(false)));
    // One attempt more could not be counted.
    let task = TaskOptions { retries: Some(u16::MAX), ..TaskOptions::default() };
    assert_eq!(EffectiveOptions::of(KernelOptions::default(), &task).retries, u16::MAX - 1);
}

#[test]
fn the_item_that_ran_takes_the_crash_and_its_neighbours_go_back_uncounted() {
    let (suspect, body) = suspect(5, DeathCause::Crash, Some(3));
    let ending = verdict(&suspect, &body, &options(0), 0.5, NOW_MS).unwrap();
    assert_eq!(shape(&ending), [(100, 3, 0, 0, 1), (103, 1, 1, 0, 1), (104, 1, 0, 0, 1)]);
    assert!(ending.runs.is_empty() && ending.dead.is_empty());
}

#[test]
fn the_third_crash_is_final_for_that_item_alone() {
    let (mut suspect, body) = suspect(2, DeathCause::Crash, Some(0));
    suspect.message.header.crashes = 2;
    let ending = verdict(&suspect, &body, &options(9), 0.5, NOW_MS).unwrap();
    assert_eq!(shape(&ending), [(101, 1, 2, 0, 1)]);
    assert_eq!((ending.runs[0].first, ending.runs[0].outcomes[0].kind()), (100, OutcomeKind::Crashed));
    assert_eq!(ending.dead[0].epitaph.reason, "crashed");
}

#[test]
fn a_limit_fails_the_attempt() {
    let (suspect, body) = suspect(1, DeathCause::TimeLimit, Some(0));
    let again = verdict(&suspect, &body, &options(1), 0.5, NOW_MS).unwrap();
    assert_eq!(shape(&again), [(100, 1, 0, 0, 2)]);
    assert_eq!(again.replacements[0].to, Destination::Scheduled { due_at_ms: NOW_MS + 500 });
    let last = verdict(&suspect, &body, &options(0), 0.5, NOW_MS).unwrap();
    assert_eq!(last.runs[0].outcomes[0].kind(), OutcomeKind::TimedOut);
}

#[test]
fn losses_are_patient_and_halve_what_has_no_slot() {
    let (mut suspect, body) = suspect(4, DeathCause::Loss, None);
    let first = verdict(&suspect, &body, &options(0), 0.0, NOW_MS).unwrap();
    assert_eq!(shape(&first), [(100, 4, 0, 1, 1)]);
    assert_eq!(first.replacements[0].to, Destination::Front);
    suspect.message.header.losses = 1;
    let second = verdict(&suspect, &body, &options(0), 0.0, NOW_MS).unwrap();
    assert_eq!(shape(&second), [(100, 2, 0, 2, 1), (102, 2, 0, 2, 1)]);
    assert!(matches!(second.replacements[0].to, Destination::Scheduled { due_at_ms } if due_at_ms > NOW_MS));
}

#[test]
fn the_tenth_loss_is_final() {
    let (mut suspect, body) = suspect(1, DeathCause::Loss, Some(0));
    suspect.message.header.losses = defaults::LOSSES_MAX - 1;
    let ending = verdict(&suspect, &body, &options(0), 0.0, NOW_MS).unwrap();
    assert_eq!(ending.runs[0].outcomes[0].kind(), OutcomeKind::Lost);
}

#[test]
fn ordered_deaths_count_for_nothing() {
    let (suspect, body) = suspect(3, DeathCause::Ordered, Some(1));
    let ending = verdict(&suspect, &body, &options(0), 0.5, NOW_MS).unwrap();
    assert_eq!(shape(&ending), [(100, 3, 0, 0, 1)]);
}

#[test]
fn an_item_outside_of_the_message_is_no_item() {
    let (suspect, body) = suspect(2, DeathCause::Loss, Some(7));
    let ending = verdict(&suspect, &body, &options(0), 0.5, NOW_MS).unwrap();
    assert_eq!(shape(&ending), [(100, 2, 0, 1, 1)]);
}

#[test]
fn what_nobody_can_read_goes_back_whole_and_charged() {
    let (suspect, _) = suspect(3, DeathCause::Crash, Some(1));
    assert_eq!(shape(&verdict_unread(&suspect)), [(100, 3, 1, 0, 1)]);
}

#[test]
fn back_off_doubles_up_to_its_cap() {
    let options = EffectiveOptions { backoff_max: Duration::from_secs(5), ..options(9) };
    let ceilings: Vec<_> = (1..=5).map(|attempt| options.delay(attempt, 1.0).as_secs()).collect();
    assert_eq!(ceilings, [1, 2, 4, 5, 5]);
    assert_eq!(options.delay(u16::MAX, 0.0), Duration::ZERO);
}
