//! What options cannot be: looked at before anything is sent.

use std::time::Duration;

use gristmill_shared::defaults::{
    KEY_BYTES_MAX, KEY_WINDOW_RANGE, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, MESSAGE_TASKS_MAX,
    RETRIES_MAX,
};

use super::SubmitOptions;
use crate::error::ClientError;
use crate::shared_data::SharedData;

impl SubmitOptions {
    /// Refuses what cannot work, with the option, its value, and what would do.
    pub fn check(&self) -> Result<(), ClientError> {
        self.problem().map_or(Ok(()), |problem| Err(ClientError::Invalid(problem)))?;
        self.shared.as_ref().map_or(Ok(()), SharedData::check)
    }

    /// Refuses what cannot be the option of all submissions through a client.
    pub(crate) fn check_bound(&self, whose: &str) -> Result<(), ClientError> {
        self.key.as_ref().map_or(Ok(()), |key| {
            Err(ClientError::Invalid(format!(
                "the idempotency key {key:?} would be that of {whose}: give it to one, with submit_with"
            )))
        })
    }

    fn problem(&self) -> Option<String> {
        let times = [
            ("the soft time limit", self.soft_time_limit),
            ("the time limit", self.time_limit),
            ("the time that results are kept", self.result_ttl),
            ("the time after which a task expires", self.expires_after),
        ];
        if let Some((what, _)) = times.into_iter().find(|(_, time)| *time == Some(Duration::ZERO)) {
            return Some(format!("{what} is 0: it must be longer, or left out"));
        }
        if let (Some(soft), Some(hard)) = (self.soft_time_limit, self.time_limit)
            && soft >= hard
        {
            return Some(format!(
                "a soft time limit of {soft:?} must be below the time limit of {hard:?} to be heeded"
            ));
        }
        let sizes =
            [("the memory that a task may need", self.memory), ("the bytes that results may take", self.result_bytes)];
        if let Some((what, _)) = sizes.into_iter().find(|(_, size)| *size == Some(0)) {
            return Some(format!("{what} is 0: it must be more, or left out"));
        }
        if let Some(retries) = self.retries.filter(|&retries| retries > RETRIES_MAX) {
            return Some(format!("{retries} retries are more than the {RETRIES_MAX} that a message can count"));
        }
        if let Some(chunk) = self.chunk.filter(|chunk| !(1..=MESSAGE_TASKS_MAX).contains(chunk)) {
            return Some(format!("a chunk of {chunk} tasks is none: it must have 1 to {MESSAGE_TASKS_MAX}"));
        }
        self.key_problem().or_else(|| self.label_problem())
    }

    fn key_problem(&self) -> Option<String> {
        if let Some(window) = self.key_window.filter(|window| !KEY_WINDOW_RANGE.contains(window)) {
            return Some(format!("an idempotency key cannot be kept for {window:?}: it must be 1 s to 30 days"));
        }
        let key = self.key.as_ref()?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Some(format!("an idempotency key has 1 to {KEY_BYTES_MAX} bytes, and this one has {}", key.len()));
        }
        let control = key.chars().any(char::is_control);
        control.then(|| format!("the idempotency key {key:?} has control characters: leave them out"))
    }

    fn label_problem(&self) -> Option<String> {
        if self.labels.len() > LABELS_MAX {
            return Some(format!("{} labels are too many: a batch has at most {LABELS_MAX}", self.labels.len()));
        }
        let character = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_.-".contains(&c);
        self.labels.iter().find_map(|(name, value)| {
            if name.is_empty() || name.len() > LABEL_NAME_BYTES_MAX || !name.bytes().all(character) {
                return Some(format!(
                    "the label name {name:?} is not allowed: use 1 to {LABEL_NAME_BYTES_MAX} characters of a-z, 0-9, '_', '.', '-'"
                ));
            }
            if value.len() > LABEL_VALUE_BYTES_MAX {
                let bytes = value.len();
                return Some(format!("the label {name:?} has {bytes} bytes: at most {LABEL_VALUE_BYTES_MAX} are kept"));
            }
            let control = value.chars().any(char::is_control);
            control.then(|| format!("the label {name:?} has control characters in {value:?}: leave them out"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(options: SubmitOptions) -> String {
        options.check().unwrap_err().to_string()
    }

    fn new() -> SubmitOptions {
        SubmitOptions::new()
    }

    #[test]
    fn what_is_at_its_limit_is_allowed() {
        new().check().unwrap();
        let tiny = Duration::from_nanos(1);
        let times = new().time_limit(2 * tiny).soft_time_limit(tiny).result_ttl(tiny).expires_after(tiny);
        times.delay(Duration::ZERO).room_timeout(Duration::ZERO).memory(1).result_bytes(1).check().unwrap();
        new().chunk(1).retries(0).check().unwrap();
        new().chunk(MESSAGE_TASKS_MAX).retries(RETRIES_MAX).check().unwrap();
        let key = new().key("k".repeat(KEY_BYTES_MAX));
        key.clone().key_window(*KEY_WINDOW_RANGE.start()).check().unwrap();
        key.key_window(*KEY_WINDOW_RANGE.end()).check().unwrap();
        let long = |n: usize| format!("{n:02}").repeat(LABEL_NAME_BYTES_MAX / 2);
        let labels =
            (0..LABELS_MAX).fold(new(), |options, n| options.label(long(n), "v".repeat(LABEL_VALUE_BYTES_MAX)));
        labels.label(long(0), "").check().unwrap();
        new().label("a.b_c-9", "anything: \u{fc} 'x'").check().unwrap();
    }

    #[test]
    fn zero_is_neither_a_time_nor_a_size() {
        let zero = Duration::ZERO;
        assert_eq!(said(new().time_limit(zero)), "the time limit is 0: it must be longer, or left out");
        assert_eq!(said(new().soft_time_limit(zero)), "the soft time limit is 0: it must be longer, or left out");
        assert_eq!(said(new().result_ttl(zero)), "the time that results are kept is 0: it must be longer, or left out");
        let expires = said(new().expires_after(zero));
        assert_eq!(expires, "the time after which a task expires is 0: it must be longer, or left out");
        assert_eq!(said(new().memory(0)), "the memory that a task may need is 0: it must be more, or left out");
        assert_eq!(said(new().result_bytes(0)), "the bytes that results may take is 0: it must be more, or left out");
    }

    #[test]
    fn a_soft_limit_comes_before_the_hard_one() {
        let hard = Duration::from_secs(2);
        let said = said(new().time_limit(hard).soft_time_limit(hard));
        assert_eq!(said, "a soft time limit of 2s must be below the time limit of 2s to be heeded");
    }

    #[test]
    fn numbers_stay_within_what_a_message_holds() {
        assert_eq!(said(new().chunk(0)), "a chunk of 0 tasks is none: it must have 1 to 4096");
        assert_eq!(said(new().chunk(4097)), "a chunk of 4097 tasks is none: it must have 1 to 4096");
        assert_eq!(said(new().retries(u16::MAX)), "65535 retries are more than the 65534 that a message can count");
    }

    #[test]
    fn keys_and_windows_have_their_rules() {
        assert_eq!(said(new().key("")), "an idempotency key has 1 to 256 bytes, and this one has 0");
        assert_eq!(said(new().key("k".repeat(257))), "an idempotency key has 1 to 256 bytes, and this one has 257");
        assert_eq!(said(new().key("a\nb")), "the idempotency key \"a\\nb\" has control characters: leave them out");
        let short = said(new().key("k").key_window(Duration::from_millis(999)));
        assert_eq!(short, "an idempotency key cannot be kept for 999ms: it must be 1 s to 30 days");
        assert!(said(new().key_window(Duration::from_secs(31 * 24 * 3600))).contains("for 2678400s"));
    }

    #[test]
    fn labels_have_their_rules() {
        let many = (0..=LABELS_MAX).fold(new(), |options, n| options.label(n.to_string(), ""));
        assert_eq!(said(many), "17 labels are too many: a batch has at most 16");
        for name in ["", "Team", "a b", "a:b", "\u{fc}", &"n".repeat(65)] {
            let said = said(new().label(name, ""));
            assert!(said.starts_with(&format!("the label name {name:?} is not allowed")), "{said}");
        }
        let long = said(new().label("a", "v".repeat(257)));
        assert_eq!(long, "the label \"a\" has 257 bytes: at most 256 are kept");
        let control = said(new().label("a", "x\u{1b}[2J"));
        assert_eq!(control, "the label \"a\" has control characters in \"x\\u{1b}[2J\": leave them out");
    }
}
