//! What is told of a task that did not succeed.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::certificate::Certificate;
use crate::defaults::{
    ERROR_CHAIN_MAX, ERROR_DETAILS_BYTES_MAX, ERROR_KIND_BYTES_MAX, ERROR_PLACE_BYTES_MAX, ERROR_TEXT_BYTES_MAX,
};
use crate::kernel_error::KernelError;

/// What is told of a task that did not succeed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong: the outermost message, one line where possible.
    pub message: String,
    /// The attempt that ended it, from 1.
    pub attempt: u16,
    /// The death certificate, where a process died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Box<Certificate>>,
    /// What sort of error it was: the name of its type, `panic`, or what the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What lay behind the error, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// Where a panic happened: `file:line:column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// One MessagePack value that the kernel attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<ByteBuf>,
}

impl Failure {
    /// A failure with its text cut to the limit.
    pub fn new(message: impl Into<String>, attempt: u16) -> Self {
        let mut message = message.into();
        if message.len() > ERROR_TEXT_BYTES_MAX {
            message = cut(&message, ERROR_TEXT_BYTES_MAX);
        }
        Self { message, attempt, certificate: None, kind: None, chain: Vec::new(), place: None, details: None }
    }

    /// What a kernel said. All its texts together take at most `texts` bytes.
    pub fn of(error: &KernelError, attempt: u16, texts: usize) -> Self {
        // The message comes first, but what sort of error it was is short and says much.
        let kind = error.kind_name().map(|kind| cut(kind, ERROR_KIND_BYTES_MAX.min(texts / 4)));
        let place = error.place().map(|place| cut_front(place, ERROR_PLACE_BYTES_MAX.min(texts / 4)));
        let taken = [&kind, &place].into_iter().flatten().map(String::len).sum::<usize>();
        let mut room = texts.min(ERROR_TEXT_BYTES_MAX).saturating_sub(taken);
        let message = cut(error.message(), room);
        room -= message.len().min(room);
        let mut chain = Vec::new();
        for cause in error.chain().iter().take(ERROR_CHAIN_MAX) {
            if room < CAUSE_BYTES_MIN.min(cause.len()) {
                break;
            }
            let cause = cut(cause, room);
            room -= cause.len().min(room);
            chain.push(cause);
        }
        let details = error.details_bytes().filter(|bytes| bytes.len() <= ERROR_DETAILS_BYTES_MAX);
        let details = details.map(|bytes| ByteBuf::from(bytes.to_vec()));
        Self { message, attempt, certificate: None, kind, chain, place, details }
    }

    /// Roughly what it takes, without its certificate.
    pub fn bytes(&self) -> usize {
        let texts = [self.kind.as_deref(), self.place.as_deref(), Some(&self.message)];
        let texts = texts.into_iter().flatten().chain(self.chain.iter().map(String::as_str));
        texts.map(|text| text.len() + 8).sum::<usize>() + self.details.as_deref().map_or(0, |bytes| bytes.len())
    }

    /// Message, causes and place in one line.
    pub fn line(&self) -> String {
        line(&self.message, &self.chain, self.place.as_deref())
    }
}

/// The piece of a cause that is worth showing, bytes.
const CAUSE_BYTES_MIN: usize = 16;

/// An error in one line: the message, what lay behind it, and where it happened. What a message repeats of its own
/// cause is not said twice.
pub fn line(message: &str, chain: &[String], place: Option<&str>) -> String {
    let mut line = message.to_owned();
    for cause in chain {
        if !line.ends_with(cause.as_str()) {
            line = if line.is_empty() { cause.clone() } else { format!("{line}: {cause}") };
        }
    }
    match place {
        Some(place) => format!("{line} (at {place})"),
        None => line,
    }
}

/// A text that is at most `limit` bytes long; where something is missing, it ends with an ellipsis.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit.saturating_sub(ELLIPSIS.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    format!("{}{ELLIPSIS}", &text[..end])
}

/// The same, but the end is kept: of a path that says more.
fn cut_front(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let from = text.len() - limit.saturating_sub(ELLIPSIS.len()).min(text.len());
    let from = (from..=text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
    format!("{ELLIPSIS}{}", &text[from..])
}

const ELLIPSIS: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(failure: &Failure) -> usize {
        let short = [&failure.kind, &failure.place].into_iter().flatten().map(String::len).sum::<usize>();
        failure.message.len() + failure.chain.iter().map(String::len).sum::<usize>() + short
    }

    #[test]
    fn long_error_texts_are_cut_at_a_character() {
        let failure = Failure::new("ü".repeat(5000), 1);
        assert!(failure.message.len() <= ERROR_TEXT_BYTES_MAX);
        assert!(failure.message.ends_with('…'));
    }

    #[test]
    fn all_texts_of_an_error_share_their_room() {
        let error = KernelError::new("m".repeat(300)).kind("k".repeat(500)).at("p".repeat(900) + "lib.rs:7:1");
        let error = (0..20).fold(error, |error, n| error.because(format!("{n}{}", "c".repeat(99))));
        for room in [160, 400, 1_000, 4_096, 1 << 20] {
            let failure = Failure::of(&error, 1, room);
            assert!(texts(&failure) <= room.min(ERROR_TEXT_BYTES_MAX), "{room}: {failure:?}");
            assert!(failure.place.as_ref().unwrap().ends_with("lib.rs:7:1"), "{failure:?}");
            assert!(failure.kind.as_ref().unwrap().len() >= 40);
        }
        let whole = Failure::of(&error, 1, 1 << 20);
        assert_eq!((whole.message.len(), whole.chain.len()), (300, ERROR_CHAIN_MAX));
        assert!(Failure::of(&error, 1, 160).message.len() >= 70);
    }

    #[test]
    fn details_are_kept_as_they_are() {
        let failure = Failure::of(&KernelError::new("no").details(&(7, "x")), 2, 1_000);
        assert_eq!(failure.details.as_deref().map(Vec::as_slice), Some(&[0x92, 7, 0xa1, b'x'][..]));
        assert_eq!(failure.attempt, 2);
    }

    #[test]
    fn a_line_says_nothing_twice() {
        let chain = ["cannot open x", "no such file"].map(String::from);
        assert_eq!(line("cannot load", &chain, None), "cannot load: cannot open x: no such file");
        assert_eq!(line("cannot load: cannot open x", &chain, None), "cannot load: cannot open x: no such file");
        assert_eq!(line("boom", &[], Some("a.rs:1:2")), "boom (at a.rs:1:2)");
    }
}
