//! The verdict on a suspect: who is charged, and what becomes of the tasks. Pure; `judge` writes it.

use std::time::Duration;

use gristmill_shared::codec::CodecError;
use gristmill_shared::dead_letter::Epitaph;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{
    Body, DeathCause, Failure, KernelOptions, Message, Outcome, OutcomeKind, TaskOptions, TaskTime, defaults,
};

use crate::ending::{Dead, Destination, Ending, Replacement, Run};

/// A task's options: its own, else its kernel's, else the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveOptions {
    /// Attempts after the first that fails.
    pub retries: u16,
    /// First back-off.
    pub backoff: Duration,
    /// Longest back-off.
    pub backoff_max: Duration,
    /// After this time the task is asked to end.
    pub soft_time_limit: Option<Duration>,
    /// The process ends when a task runs longer than this.
    pub time_limit: Option<Duration>,
    /// The process ends when it holds more memory than this while the task runs, bytes.
    pub memory: Option<u64>,
    /// Whether the output is dropped where it was computed.
    pub ignore_result: bool,
}

impl EffectiveOptions {
    /// Merges what the task asks for with what its kernel declares.
    pub fn of(kernel: KernelOptions, task: &TaskOptions) -> Self {
        let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
        Self {
            retries: task.retries.or(kernel.retries).unwrap_or(defaults::RETRIES).min(defaults::RETRIES_MAX),
            backoff: ms(task.backoff_ms).or(kernel.backoff).unwrap_or(defaults::BACKOFF),
            backoff_max: ms(task.backoff_max_ms).or(kernel.backoff_max).unwrap_or(defaults::BACKOFF_MAX),
            soft_time_limit: ms(task.soft_time_limit_ms).or(kernel.soft_time_limit),
            time_limit: ms(task.time_limit_ms).or(kernel.time_limit),
            memory: task.memory_bytes.or(kernel.memory),
            ignore_result: task.ignore_result.or(kernel.ignore_result).unwrap_or(false),
        }
    }

    /// How long to wait after the failed `attempt` (from 1): exponential, with full jitter; `jitter` is
    /// uniform in [0, 1).
    pub fn delay(&self, attempt: u16, jitter: f64) -> Duration {
        let doublings = u32::from(attempt.saturating_sub(1)).min(31);
        let ceiling = self.backoff.saturating_mul(1 << doublings).min(self.backoff_max);
        ceiling.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// Judges a suspect whose body can be read. `jitter` is uniform in [0, 1).
pub fn verdict(
    suspect: &Suspect,
    body: &Body,
    options: &EffectiveOptions,
    jitter: f64,
    now_ms: u64,
) -> Result<Ending, CodecError> {
    let item = suspect.certificate.item.filter(|&item| item < suspect.message.header.count);
    match (item, suspect.certificate.cause) {
        (_, DeathCause::Ordered) => Ok(back(suspect.message.clone())),
        (Some(item), cause) => charge(suspect, body, item, cause, options, jitter, now_ms),
        (None, _) => lost_without_slot(suspect, body, jitter, now_ms),
    }
}

/// Judges a suspect whose body nobody could read for a while: it goes back whole, charged in the header.
pub fn verdict_unread(suspect: &Suspect) -> Ending {
    let mut message = suspect.message.clone();
    let charge = match suspect.certificate.cause {
        DeathCause::Ordered => None,
        DeathCause::Loss => Some(&mut message.header.losses),
        _ => Some(&mut message.header.crashes),
    };
    if let Some(count) = charge {
        *count = count.saturating_add(1);
    }
    back(message)
}

/// The item that ran takes the charge; its neighbours go back uncounted.
fn charge(
    suspect: &Suspect,
    body: &Body,
    item: u32,
    cause: DeathCause,
    options: &EffectiveOptions,
    jitter: f64,
    now_ms: u64,
) -> Result<Ending, CodecError> {
    let whole = &suspect.message;
    let mut ending = Ending::default();
    if item > 0 {
        ending.replacements.push(to_front(whole.slice(body, 0..item)?));
    }
    let mut guilty = whole.slice(body, item..item + 1)?;
    let count = |count: &mut u8| {
        *count = count.saturating_add(1);
        *count
    };
    let (last, kind, due_at_ms) = match cause {
        DeathCause::Loss => {
            let losses = count(&mut guilty.header.losses);
            (losses >= defaults::LOSSES_MAX, OutcomeKind::Lost, loss_delay(losses, jitter).map(|delay| now_ms + delay))
        }
        DeathCause::TimeLimit | DeathCause::MemoryLimit => {
            let attempt = guilty.header.attempt;
            let kind = if cause == DeathCause::TimeLimit { OutcomeKind::TimedOut } else { OutcomeKind::OutOfMemory };
            guilty.header.attempt = attempt.saturating_add(1);
            (attempt > options.retries, kind, Some(now_ms + options.delay(attempt, jitter).as_millis() as u64))
        }
        _ => {
            let kind = if suspect.certificate.out_of_memory { OutcomeKind::OutOfMemory } else { OutcomeKind::Crashed };
            (count(&mut guilty.header.crashes) >= defaults::CRASHES_MAX, kind, None)
        }
    };
    let too_late = due_at_ms.is_some_and(|due| due > guilty.header.expires_at_ms);
    if last || too_late {
        guilty.header.attempt = whole.header.attempt;
        end(&mut ending, suspect, body, guilty, kind);
    } else {
        let to = due_at_ms.map_or(Destination::Front, |due_at_ms| Destination::Scheduled { due_at_ms });
        ending.replacements.push(Replacement { message: guilty, to });
    }
    if item + 1 < whole.header.count {
        ending.replacements.push(to_front(whole.slice(body, item + 1..whole.header.count)?));
    }
    Ok(ending)
}

/// A machine is gone, and with it the knowledge of what ran: the message is charged as a whole, and
/// halved from the second loss on, so that a guilty task is found in the end.
fn lost_without_slot(suspect: &Suspect, body: &Body, jitter: f64, now_ms: u64) -> Result<Ending, CodecError> {
    let mut whole = suspect.message.clone();
    whole.header.losses = whole.header.losses.saturating_add(1);
    let (count, losses) = (whole.header.count, whole.header.losses);
    let mut ending = Ending::default();
    if losses >= defaults::LOSSES_MAX && count == 1 {
        end(&mut ending, suspect, body, whole, OutcomeKind::Lost);
        return Ok(ending);
    }
    let to = match loss_delay(losses, jitter).map(|delay| now_ms + delay) {
        Some(due_at_ms) if due_at_ms <= whole.header.expires_at_ms => Destination::Scheduled { due_at_ms },
        _ => Destination::Front,
    };
    let parts = if losses >= 2 && count > 1 { vec![0..count / 2, count / 2..count] } else { vec![0..count; 1] };
    for part in parts {
        let message = whole.slice(body, part)?;
        ending.replacements.push(Replacement { message, to: to.clone() });
    }
    Ok(ending)
}

/// From the second loss on a message waits, so that a task which fells machines does not fell them all at once.
fn loss_delay(losses: u8, jitter: f64) -> Option<u64> {
    (losses >= 2).then(|| {
        let ceiling = Duration::from_secs(1 << u32::from(losses - 2).min(9));
        (ceiling.as_millis() as f64 * (0.5 + jitter / 2.0)) as u64
    })
}

fn end(ending: &mut Ending, suspect: &Suspect, body: &Body, message: Message, kind: OutcomeKind) {
    let mut failure = Failure::new(suspect.certificate.summary.clone(), message.header.attempt);
    failure.certificate = Some(Box::new(suspect.certificate.clone()));
    ending.dead.push(Dead { epitaph: Epitaph::new(kind, &body.kernel, &failure), message: message.clone() });
    let header = message.header;
    let times = suspect.certificate.run_ms.map(|ms| TaskTime::of(Duration::from_millis(ms))).into_iter().collect();
    ending.runs.push(Run {
        batch: header.batch,
        single: header.is_single(),
        first: header.first,
        outcomes: vec![Outcome::Bad(kind, failure)],
        times,
    });
}

fn to_front(message: Message) -> Replacement {
    Replacement { message, to: Destination::Front }
}

fn back(message: Message) -> Ending {
    Ending { replacements: vec![to_front(message)], ..Ending::default() }
}

#[cfg(test)]
mod tests;
