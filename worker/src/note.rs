//! A short text in shared memory, guarded by a sequence counter.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use gristmill_shared::defaults::PROGRESS_BYTES_MAX;

const WORDS: usize = PROGRESS_BYTES_MAX.div_ceil(8);
const READ_TRIES: usize = 64;

/// A bounded text. An odd version means that somebody writes, or died while writing.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Note {
    version: AtomicU32,
    len: AtomicU32,
    words: [AtomicU64; WORDS],
}

impl Note {
    /// Replaces the text, cut to the limit. Of two writers at once, one is dropped: it is only a note.
    pub(crate) fn write(&self, text: &str) {
        let end = (0..=text.len().min(PROGRESS_BYTES_MAX)).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        let bytes = &text.as_bytes()[..end];
        let version = self.version.load(Relaxed);
        if !version.is_multiple_of(2) || self.version.compare_exchange(version, version | 1, Acquire, Relaxed).is_err()
        {
            return;
        }
        fence(Release);
        for (word, chunk) in self.words.iter().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        self.len.store(end as u32, Relaxed);
        self.version.store(version.wrapping_add(2), Release);
    }

    /// Forgets the text.
    pub(crate) fn clear(&self) {
        if self.len.load(Relaxed) != 0 {
            self.write("");
        }
    }

    /// Forgets the text and a writer who died. Only while nobody else writes.
    pub(crate) fn reset(&self) {
        self.len.store(0, Relaxed);
        self.version.store(0, Release);
    }

    /// The text, if there is one and nobody is changing it.
    pub(crate) fn read(&self) -> Option<String> {
        for _ in 0..READ_TRIES {
            let version = self.version.load(Acquire);
            let len = (self.len.load(Relaxed) as usize).min(PROGRESS_BYTES_MAX);
            let mut bytes = [0; WORDS * 8];
            for (word, chunk) in self.words.iter().zip(bytes.chunks_mut(8)) {
                chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes()[..chunk.len()]);
            }
            fence(Acquire);
            if version.is_multiple_of(2) && self.version.load(Relaxed) == version {
                let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
                return (!text.is_empty()).then_some(text);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_at_a_character() {
        let note = Note::default();
        note.write(&"ü".repeat(200));
        assert_eq!(note.read().unwrap(), "ü".repeat(60));
        note.clear();
        assert_eq!(note.read(), None);
    }

    #[test]
    fn a_dead_writer_hides_the_note_until_the_reset() {
        let note = Note::default();
        note.write("seen");
        note.version.fetch_add(1, Relaxed);
        assert_eq!(note.read(), None);
        note.write("ignored");
        note.reset();
        note.write("again");
        assert_eq!(note.read().as_deref(), Some("again"));
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let note = Note::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20_000).for_each(|i| note.write(if i % 2 == 0 { "aaaaaaaaaaaa" } else { "bbbbbb" })));
            for _ in 0..2_000 {
                let text = note.read();
                assert!(matches!(text.as_deref(), None | Some("aaaaaaaaaaaa" | "bbbbbb")), "{text:?}");
            }
        });
    }
}
