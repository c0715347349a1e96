//! The end of an output stream, of bounded size.

/// Keeps the last bytes of what it was given, and counts all.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    max: usize,
    total: u64,
}

impl Tail {
    /// An empty one that keeps so many bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max, total: 0 }
    }

    /// Adds what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(self.max)..]);
        // Cut only now and then: each cut moves everything that stays.
        if self.bytes.len() > self.max.saturating_mul(2).max(64 * 1024) {
            self.cut();
        }
    }

    /// How much came in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What is kept.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.cut();
        self.bytes
    }

    fn cut(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.max);
        self.bytes.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_all_is_counted() {
        for max in [0, 1, 7, 1_000, 100_000] {
            for piece in [1, 3, 999, 70_000] {
                let all: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
                let mut tail = Tail::new(max);
                for bytes in all.chunks(piece) {
                    tail.push(bytes);
                    assert!(tail.bytes.len() <= (2 * max).max(64 * 1024) + max.min(piece));
                }
                assert_eq!(tail.total(), 200_000);
                assert!(tail.into_bytes() == all[all.len() - max..], "{max} {piece}");
            }
        }
    }

    #[test]
    fn what_is_short_is_kept_whole() {
        let mut tail = Tail::new(10);
        tail.push(b"abc");
        tail.push(b"");
        assert_eq!(tail.into_bytes(), b"abc");
    }
}
