//! From ended messages to what `settle` records: outcomes, retries, dead letters. Pure.

use std::time::Duration;

use gristmill_broker::{Dead, Destination, EffectiveOptions, Ending, Replacement, Run, Settlement};
use gristmill_shared::codec::CodecError;
use gristmill_shared::dead_letter::Epitaph;
use gristmill_shared::defaults::{CALL_BYTES_MAX, ERROR_TEXT_BYTES_MAX, MESSAGE_TASKS_MAX, RUN_BYTES_MAX};
use gristmill_shared::kernel::Retry;
use gristmill_shared::{Certificate, Failure, KernelError, Keys, Message, Outcome, OutcomeKind, TaskId};

use super::handover::FAILURES_PER_MESSAGE_MAX;
use super::inflight::{End, Fate, Held};

/// What a call may weigh, with room for headers and keys.
const BYTES_MAX: usize = CALL_BYTES_MAX - 64 * 1024;
/// All error texts of one message share this much, so that its end fits into one call.
const TEXTS_BYTES_MAX: usize = 96 * 1024;
const TEXT_BYTES_MIN: usize = 160;
const LETTER_BYTES: usize = 200;
const CERTIFICATE_BYTES: usize = 800;

/// What happened, for the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A task waits for its next attempt.
    Retried {
        /// The task.
        task: TaskId,
        /// The attempt to come.
        attempt: u16,
        /// How long it waits.
        delay: Duration,
    },
    /// A task became a dead letter.
    Buried {
        /// The task.
        task: TaskId,
        /// How it ended.
        kind: OutcomeKind,
        /// What was said.
        text: String,
    },
    /// A message was parked.
    Parked {
        /// Its first task.
        task: TaskId,
        /// The list, for people.
        list: String,
    },
}

/// How many of the messages at the head fit into one call; at least the first.
pub fn fitting<'a>(over: impl Iterator<Item = &'a Held>) -> usize {
    let mut bytes = 0;
    let mut take = 0;
    for held in over {
        bytes += weight(held);
        if take > 0 && bytes > BYTES_MAX {
            break;
        }
        take += 1;
    }
    take
}

/// Roughly what the end of a message adds to a call.
fn weight(held: &Held) -> usize {
    let ends = || held.ends.iter().take(kept(held)).flatten();
    let bad = ends().filter(|end| is_bad(end)).count();
    let values = ends().map(|end| match end {
        End::Value(value) => value.len() + 6,
        End::Uploaded(_) => 200,
        End::Attempt(_, error) => {
            let details = error.details_bytes().map_or(0, <[u8]>::len);
            2 * (texts(error).min(text_limit(bad)) + details + LETTER_BYTES)
        }
        End::Final(_, text) => 2 * text.len().min(text_limit(bad)) + 2 * LETTER_BYTES,
        End::Stopped(..) => 2 * CERTIFICATE_BYTES + 2 * LETTER_BYTES,
    });
    let replaced = if bad > 0 || matches!(held.fate, Fate::Park(_)) { held.bytes } else { 0 };
    values.sum::<usize>() + replaced + LETTER_BYTES
}

/// Bytes of all texts of an error.
fn texts(error: &KernelError) -> usize {
    let short = [error.kind_name(), error.place()].into_iter().flatten().map(str::len).sum::<usize>();
    error.message().len() + error.chain().iter().map(String::len).sum::<usize>() + short
}

fn is_bad(end: &End) -> bool {
    matches!(end, End::Attempt(..) | End::Stopped(..) | End::Final(..))
}

fn text_limit(bad: usize) -> usize {
    (TEXTS_BYTES_MAX / bad.max(1)).clamp(TEXT_BYTES_MIN, ERROR_TEXT_BYTES_MAX)
}

/// The settlement of messages that are over. `now_ms` is Redis's clock, `jitter` gives 0 to 1.
pub fn settlement<'a>(
    over: impl Iterator<Item = &'a Held>,
    now_ms: u64,
    jitter: impl FnMut() -> f64,
) -> Result<(Settlement, Vec<Note>), CodecError> {
    let mut writer = Writer { ending: Ending::default(), notes: Vec::new(), open: 0, now_ms, jitter };
    let mut take = Vec::new();
    for held in over {
        writer.message(held)?;
        take.push((held.message.header.batch, held.message.header.queue.clone()));
    }
    Ok((Settlement { take, ending: writer.ending }, writer.notes))
}

struct Writer<J> {
    ending: Ending,
    notes: Vec<Note>,
    /// Bytes of the last run while it may grow; 0: the next outcome begins another.
    open: usize,
    now_ms: u64,
    jitter: J,
}

impl<J: FnMut() -> f64> Writer<J> {
    fn message(&mut self, held: &Held) -> Result<(), CodecError> {
        if let Fate::Park(list) = &held.fate {
            self.open = 0;
            let list_name = match list {
                gristmill_broker::ParkedList::Kernel(name) => name.to_string(),
                gristmill_broker::ParkedList::Version(version) => format!("v+{version}"),
            };
            self.notes.push(Note::Parked { task: held.message.task(0), list: list_name });
            let to = Destination::Parked(list.clone());
            self.ending.replacements.push(Replacement { message: held.message.clone(), to });
            return Ok(());
        }
        let bad = held.ends.iter().flatten().filter(|end| is_bad(end)).count();
        let kept = kept(held);
        for (item, end) in held.ends.iter().enumerate().take(kept) {
            match end {
                Some(end) => self.item(held, item as u32, end, text_limit(bad))?,
                None => return Err(CodecError::Malformed("a message is settled before its items have ended")),
            }
        }
        if kept < held.ends.len() {
            self.open = 0;
            let message = rest(held, kept as u32)?;
            self.ending.replacements.push(Replacement { message, to: Destination::Front });
        }
        Ok(())
    }

    fn item(&mut self, held: &Held, item: u32, end: &End, text_limit: usize) -> Result<(), CodecError> {
        let attempt = held.message.header.attempt;
        match end {
            End::Value(value) => self.outcome(held, item, Outcome::Value(value.clone()), value.len() + 6),
            End::Uploaded(blob) => self.outcome(held, item, Outcome::Blob(blob.clone()), 200),
            End::Final(kind, text) => return self.bad(held, item, *kind, failure(text, attempt, text_limit)),
            End::Attempt(kind, error) => {
                if let Some(delay) = self.retry_delay(held, error.retry()) {
                    return self.again(held, item, delay);
                }
                return self.bad(held, item, *kind, Failure::of(error, attempt, text_limit));
            }
            End::Stopped(kind, certificate) => {
                if let Some(delay) = self.retry_delay(held, Retry::AsConfigured) {
                    return self.again(held, item, delay);
                }
                let mut failure = failure(&certificate.summary, attempt, text_limit);
                failure.certificate =
                    Some(Box::new(Certificate { item: Some(item), ..Certificate::clone(certificate) }));
                return self.bad(held, item, *kind, failure);
            }
        }
        Ok(())
    }

    /// When to try again; none: this was the last attempt.
    fn retry_delay(&mut self, held: &Held, retry: Retry) -> Option<Duration> {
        let Fate::Run { kernel, body, .. } = &held.fate else { return None };
        let header = &held.message.header;
        let options = EffectiveOptions::of(kernel.options, &body.options);
        if header.attempt > options.retries {
            return None;
        }
        let delay = match retry {
            Retry::Never => return None,
            Retry::After(delay) => delay,
            Retry::AsConfigured => options.delay(header.attempt, (self.jitter)()),
        };
        let due = self.now_ms.saturating_add(delay.as_millis() as u64);
        (due <= header.expires_at_ms).then_some(delay)
    }

    fn again(&mut self, held: &Held, item: u32, delay: Duration) -> Result<(), CodecError> {
        self.open = 0;
        let mut message = one(held, item)?;
        message.header.attempt += 1;
        let (task, attempt) = (message.task(0), message.header.attempt);
        self.notes.push(Note::Retried { task, attempt, delay });
        let due_at_ms = self.now_ms.saturating_add(delay.as_millis() as u64);
        self.ending.replacements.push(Replacement { message, to: Destination::Scheduled { due_at_ms } });
        Ok(())
    }

    fn bad(&mut self, held: &Held, item: u32, kind: OutcomeKind, failure: Failure) -> Result<(), CodecError> {
        let bytes = failure.bytes() + LETTER_BYTES;
        if !kind.is_dead_letter() {
            self.outcome(held, item, Outcome::Bad(kind, failure), bytes);
            return Ok(());
        }
        let kernel = match &held.fate {
            Fate::Run { kernel, .. } => kernel.name,
            _ => "",
        };
        let (task, text) = (held.message.task(item), failure.line());
        self.notes.push(Note::Buried { task, kind, text });
        let epitaph = Epitaph::new(kind, kernel, &failure);
        self.ending.dead.push(Dead { epitaph, message: one(held, item)? });
        // A run of one, so that reviving the task later touches nobody else's outcome.
        self.open = 0;
        self.outcome(held, item, Outcome::Bad(kind, failure), bytes);
        self.open = 0;
        Ok(())
    }

    /// Adds an outcome to the last run where that goes on, also over the end of a message.
    fn outcome(&mut self, held: &Held, item: u32, outcome: Outcome, bytes: usize) {
        let header = &held.message.header;
        let index = header.first + u64::from(item);
        let time = held.times.get(item as usize).copied().unwrap_or_default();
        if self.open > 0
            && self.open + bytes <= RUN_BYTES_MAX
            && let Some(run) = self.ending.runs.last_mut()
            && run.batch == header.batch
            && run.first + run.outcomes.len() as u64 == index
            && run.outcomes.len() < MESSAGE_TASKS_MAX as usize
            && Keys::bucket_of(run.first) == Keys::bucket_of(index)
        {
            run.outcomes.push(outcome);
            run.times.push(time);
            self.open += bytes;
            return;
        }
        let (single, outcomes, times) = (header.is_single(), vec![outcome], vec![time]);
        self.ending.runs.push(Run { batch: header.batch, single, first: index, outcomes, times });
        self.open = bytes;
    }
}

/// How many items of a message this call records. A message that fails as a whole becomes many dead
/// letters: those behind the first go back, and fail again in a call of their own.
fn kept(held: &Held) -> usize {
    let dies = |end: &Option<End>| matches!(end, Some(End::Final(kind, _)) if kind.is_dead_letter());
    let whole = held.ends.iter().all(dies);
    if whole { held.ends.len().min(FAILURES_PER_MESSAGE_MAX as usize) } else { held.ends.len() }
}

/// The message of the items from `from` on.
fn rest(held: &Held, from: u32) -> Result<Message, CodecError> {
    let count = held.message.header.count;
    if let Fate::Run { body, .. } = &held.fate {
        return held.message.slice(body, from..count);
    }
    let mut message = held.message.clone();
    message.header.first += u64::from(from);
    message.header.count = count - from;
    Ok(message)
}

/// The message of one item alone.
fn one(held: &Held, item: u32) -> Result<Message, CodecError> {
    if let Fate::Run { body, .. } = &held.fate {
        return held.message.slice(body, item..item + 1);
    }
    // The body cannot be cut: the first letter keeps all of it.
    let mut header = held.message.header.clone();
    header.first += u64::from(item);
    header.count = 1;
    Ok(Message { header, body: if item == 0 { held.message.body.clone() } else { Vec::new() } })
}

fn failure(text: &str, attempt: u16, limit: usize) -> Failure {
    let end = (0..=limit.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    Failure::new(&text[..end], attempt)
}

#[cfg(test)]
mod tests;
