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

/// Time that all cores of the machine together had nothing to do, since it was started.
pub fn idle_cores() -> Option<Duration> {
    read_idle(&fs::read_to_string("/proc/stat").ok()?)
}

/// `cpu  <user> <nice> <system> <idle> …`, in hundredths of a second on every Linux.
fn read_idle(text: &str) -> Option<Duration> {
    let hundredths: u64 = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().nth(3)?.parse().ok()?;
    Some(Duration::from_millis(10 * hundredths))
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

    #[test]
    fn idle_time_of_the_machine_is_read() {
        let text = "cpu  3446 0 661 12345 9 0 4 0 0 0\ncpu0 1 2 3 4\n";
        assert_eq!(read_idle(text), Some(Duration::from_millis(123_450)));
        assert_eq!(read_idle("cpu 1 2"), None);
        // On machines of several cores single ones may be told a tick too much, and corrected.
        let tick = Duration::from_millis(100);
        let before = idle_cores();
        assert_eq!(before.is_some(), cfg!(target_os = "linux"));
        assert!(idle_cores().map(|idle| idle + tick) >= before);
    }
}
