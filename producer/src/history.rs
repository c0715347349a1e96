//! Calls that were sent, kept for the case that Redis forgets them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An append-only file which is written every second loses up to about two seconds at a crash.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// More than this is not kept: then a crash of Redis costs the batch, not our memory.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// One enqueue call of a batch; repeated as it is until Redis has answered.
#[derive(Debug)]
pub(crate) struct Call {
    pub seq: u64,
    pub seal: bool,
    pub messages: Vec<Vec<u8>>,
    /// Keys of all parts of all blobs that the messages name.
    pub blobs: Vec<String>,
}

impl Call {
    fn bytes(&self) -> usize {
        self.messages.iter().map(Vec::len).sum()
    }
}

/// The latest calls of a batch.
#[derive(Debug, Default)]
pub(crate) struct History {
    calls: VecDeque<(Instant, Arc<Call>)>,
    bytes: usize,
}

impl History {
    pub fn keep(&mut self, call: Arc<Call>, now: Instant) {
        self.bytes += call.bytes();
        self.calls.push_back((now, call));
        while let Some((sent, oldest)) = self.calls.front() {
            let expired = now.duration_since(*sent) > KEPT_FOR || self.bytes > BYTES_MAX;
            if !expired || self.calls.len() == 1 {
                break;
            }
            self.bytes -= oldest.bytes();
            self.calls.pop_front();
        }
    }

    /// The calls from `seq` on, if all of them are still here.
    pub fn from(&self, seq: u64) -> Option<Vec<Arc<Call>>> {
        let at = self.calls.iter().position(|(_, call)| call.seq == seq)?;
        Some(self.calls.range(at..).map(|(_, call)| call.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(seq: u64, bytes: usize) -> Arc<Call> {
        Arc::new(Call { seq, seal: false, messages: vec![vec![0; bytes]], blobs: Vec::new() })
    }

    #[test]
    fn calls_are_found_again_until_they_are_too_old() {
        let mut history = History::default();
        let start = Instant::now();
        history.keep(call(0, 1), start);
        history.keep(call(1, 1), start + Duration::from_secs(1));
        assert_eq!(history.from(0).unwrap().iter().map(|call| call.seq).collect::<Vec<_>>(), [0, 1]);
        history.keep(call(2, 1), start + Duration::from_millis(5_500));
        assert!(history.from(0).is_none());
        assert_eq!(history.from(1).unwrap().len(), 2);
    }

    #[test]
    fn memory_is_bounded_but_the_last_call_is_always_kept() {
        let mut history = History::default();
        let now = Instant::now();
        history.keep(call(0, BYTES_MAX), now);
        history.keep(call(1, BYTES_MAX + 1), now);
        assert!(history.from(0).is_none());
        assert_eq!(history.from(1).unwrap().len(), 1);
    }
}
