//! What the system knows of the time that processes got, and of the time that they had to wait for it.

use std::fs;
use std::time::Duration;

use super::mill::Consumer;

/// Time of some processes' main threads, which are those that compute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// On a core.
    pub ran: Duration,
    /// Ready to run, while others had the cores.
    pub waited: Duration,
}

impl Cpu {
    /// All of these consumers together; none where the system does not tell.
    pub fn of(consumers: &[Consumer]) -> Option<Self> {
        let mut sum = Self::default();
        for consumer in consumers {
            let one = read(&fs::read_to_string(format!("/proc/{}/schedstat", consumer.pid)).ok()?)?;
            sum = Self { ran: sum.ran + one.ran, waited: sum.waited + one.waited };
        }
        Some(sum)
    }

    /// What was added since then.
    pub fn since(self, earlier: Self) -> Self {
        Self { ran: self.ran.saturating_sub(earlier.ran), waited: self.waited.saturating_sub(earlier.waited) }
    }
}

/// `<ns on a core> <ns waiting for one> <time slices>`.
fn read(text: &str) -> Option<Cpu> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().map(Duration::from_nanos));
    Some(Cpu { ran: numbers.next()?.ok()?, waited: numbers.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_are_read() {
        let cpu = read("436465827 124814738 62\n").unwrap();
        assert_eq!((cpu.ran.as_millis(), cpu.waited.as_millis()), (436, 124));
        assert_eq!(read("0"), None);
        assert_eq!(read("a b c"), None);
    }
}
