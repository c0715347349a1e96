//! What a task tells of itself, in shared memory: how far it is, and a short text. Guarded by a sequence counter.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use gristmill_shared::defaults::PROGRESS_BYTES_MAX;

const WORDS: usize = PROGRESS_BYTES_MAX.div_ceil(8);
const READ_TRIES: usize = 64;

/// What was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Told {
    /// How far, from 0 to 1.
    pub fraction: Option<f64>,
    /// The text.
    pub note: Option<String>,
}

/// A fraction and a bounded text. An odd version means that somebody writes, or died while writing.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Note {
    version: AtomicU32,
    len: AtomicU32,
    /// The bits of the fraction plus one; 0: none.
    fraction: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Note {
    /// Replaces the text, cut to the limit, and the fraction if there is one. Of two writers at once, one is dropped: it
    /// is only a note.
    pub(crate) fn write(&self, fraction: Option<f64>, text: &str) {
        self.replace(fraction.map(|fraction| fraction.to_bits() + 1), text);
    }

    fn replace(&self, fraction: Option<u64>, text: &str) {
        let end = (0..=text.len().min(PROGRESS_BYTES_MAX)).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        let bytes = &text.as_bytes()[..end];
        let version = self.version.load(Relaxed);
        if !version.is_multiple_of(2) || self.version.compare_exchange(version, version | 1, Acquire, Relaxed).is_err()
        {
            return;
        }
        fence(Release);
        if let Some(fraction) = fraction {
            self.fraction.store(fraction, Relaxed);
        }
        for (word, chunk) in self.words.iter().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        self.len.store(end as u32, Relaxed);
        self.version.store(version.wrapping_add(2), Release);
    }

    /// Another number after each change.
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Relaxed)
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        if self.len.load(Relaxed) != 0 || self.fraction.load(Relaxed) != 0 {
            self.replace(Some(0), "");
        }
    }

    /// Forgets all, and a writer who died. Only while nobody else writes.
    pub(crate) fn reset(&self) {
        self.len.store(0, Relaxed);
        self.fraction.store(0, Relaxed);
        self.version.store(0, Release);
    }

    /// What there is, if nobody is changing it.
    pub(crate) fn read(&self) -> Told {
        for _ in 0..READ_TRIES {
            let version = self.version.load(Acquire);
            let len = (self.len.load(Relaxed) as usize).min(PROGRESS_BYTES_MAX);
            let fraction = self.fraction.load(Relaxed).checked_sub(1).map(f64::from_bits);
            let mut bytes = [0; WORDS * 8];
            for (word, chunk) in self.words.iter().zip(bytes.chunks_mut(8)) {
                chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes()[..chunk.len()]);
            }
            fence(Acquire);
            if version.is_multiple_of(2) && self.version.load(Relaxed) == version {
                let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
                return Told { fraction, note: (!text.is_empty()).then_some(text) };
            }
        }
        Told::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fraction: Option<f64>, note: &str) -> Told {
        Told { fraction, note: Some(note.to_owned()) }
    }

    #[test]
    fn long_notes_are_cut_at_a_character() {
        let note = Note::default();
        note.write(None, &"ü".repeat(200));
        assert_eq!(note.read(), told(None, &"ü".repeat(60)));
        note.clear();
        assert_eq!(note.read(), Told::default());
    }

    #[test]
    fn a_fraction_stays_until_another_comes() {
        let note = Note::default();
        note.write(Some(0.0), "begun");
        assert_eq!(note.read(), told(Some(0.0), "begun"));
        note.write(None, "goes on");
        assert_eq!(note.read(), told(Some(0.0), "goes on"));
        note.write(Some(1.0), "");
        assert_eq!(note.read(), Told { fraction: Some(1.0), note: None });
        note.clear();
        assert_eq!(note.read(), Told::default());
    }

    #[test]
    fn a_dead_writer_hides_the_note_until_the_reset() {
        let note = Note::default();
        note.write(Some(0.5), "seen");
        note.version.fetch_add(1, Relaxed);
        assert_eq!(note.read(), Told::default());
        note.write(None, "ignored");
        note.reset();
        note.write(None, "again");
        assert_eq!(note.read(), told(None, "again"));
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let note = Note::default();
        let texts = [told(Some(0.25), "aaaaaaaaaaaa"), told(Some(0.75), "bbbbbb")];
        let writes = (0..20_000).map(|i| &texts[i % 2]);
        std::thread::scope(|scope| {
            scope.spawn(|| writes.for_each(|told| note.write(told.fraction, told.note.as_deref().unwrap())));
            for _ in 0..2_000 {
                let told = note.read();
                assert!(told == Told::default() || texts.contains(&told), "{told:?}");
            }
        });
    }
}
