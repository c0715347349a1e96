//! How a task ended before it was taken back from the dead letters: carried along in its message.

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::dead_letter::DeadLetter;
use crate::defaults::{HISTORY_MAX, HISTORY_TEXT_BYTES_MAX};
use crate::failure::cut;

/// One end of a task that somebody retried afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlierEnd {
    /// When the task was buried, epoch ms.
    pub at_ms: u64,
    /// The outcome's word.
    pub reason: String,
    /// What went wrong, in one line: [`Failure::line`](crate::Failure::line).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The attempt that ended it, from 1.
    pub attempt: u16,
    /// What sort of error it was, as its kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The death certificate, where a process died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

impl EarlierEnd {
    /// The end that a dead letter tells of.
    pub fn of(letter: &DeadLetter) -> Self {
        let failure = letter.epitaph.failure.as_ref();
        let attempt = failure.map_or(1, |failure| failure.attempt);
        Self {
            at_ms: letter.at_ms,
            reason: letter.epitaph.reason.clone(),
            message: failure.map(|failure| cut(&failure.line(), HISTORY_TEXT_BYTES_MAX)).unwrap_or_default(),
            attempt,
            kind: failure.and_then(|failure| failure.kind.clone()),
            certificate: failure.and_then(|failure| failure.certificate.as_deref().cloned()),
        }
    }
}

/// Adds an end to those before it, oldest first; the oldest are forgotten.
pub fn remember(history: &mut Vec<EarlierEnd>, end: EarlierEnd) {
    history.push(end);
    history.drain(..history.len().saturating_sub(HISTORY_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Epitaph;
    use crate::outcome::{Failure, OutcomeKind};

    fn letter(at_ms: u64, text: &str) -> DeadLetter {
        let epitaph = Epitaph::new(OutcomeKind::Failed, "square", &Failure::new(text, 2));
        DeadLetter { at_ms, epitaph, message: Vec::new() }
    }

    #[test]
    fn the_oldest_ends_are_forgotten() {
        let mut history = Vec::new();
        for at_ms in 0..15 {
            remember(&mut history, EarlierEnd::of(&letter(at_ms, "no")));
        }
        let times: Vec<_> = history.iter().map(|end| end.at_ms).collect();
        assert_eq!(times, (5..15).collect::<Vec<_>>());
        assert_eq!((history[0].reason.as_str(), history[0].attempt), ("failed", 2));
    }

    #[test]
    fn long_texts_are_cut() {
        let end = EarlierEnd::of(&letter(1, &"ü".repeat(2_000)));
        assert!(end.message.len() <= HISTORY_TEXT_BYTES_MAX && end.message.ends_with('…'));
    }
}
