//! Refuses to enqueue while Redis is near its memory limit: the workers still need room to settle.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gristmill_broker::ServerInfo;
use gristmill_shared::defaults::MEMORY_REFUSE_PERCENT;
use gristmill_shared::size;

use crate::error::ClientError;

const CHECKED_EVERY: Duration = Duration::from_secs(1);

/// The last verdict on the memory of Redis.
#[derive(Debug, Default)]
pub(crate) struct MemoryGuard {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    checked: Option<Instant>,
    refusal: Option<String>,
}

impl MemoryGuard {
    /// Whether the caller should look now: of many callers at a time, one is told so.
    pub fn is_due(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = state.checked.is_none_or(|checked| now.duration_since(checked) >= CHECKED_EVERY);
        if due {
            state.checked = Some(now);
        }
        due
    }

    /// Keeps what the caller saw.
    pub fn see(&self, info: &ServerInfo) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refusal =
            refusal(info.used_memory, info.maxmemory.unwrap_or(0));
    }

    /// Why nothing may be enqueued at the moment.
    pub fn refusal(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refusal.clone()
    }
}

/// Why so many bytes more find no room, if they do not.
pub(crate) fn room_for(bytes: u64, info: &ServerInfo) -> Result<(), ClientError> {
    let Some(limit) = info.maxmemory.filter(|&limit| limit > 0) else { return Ok(()) };
    let most = (u128::from(limit) * u128::from(MEMORY_REFUSE_PERCENT) / 100) as u64;
    if bytes > most {
        return Err(ClientError::SharedTooLarge { bytes, limit });
    }
    if info.used_memory.saturating_add(bytes) <= most {
        return Ok(());
    }
    Err(ClientError::MemoryLimit(format!(
        "{} of {} are used, and the shared input takes {} more; above {MEMORY_REFUSE_PERCENT} % nothing is enqueued",
        size::text(info.used_memory),
        size::text(limit),
        size::text(bytes)
    )))
}

fn refusal(used: u64, limit: u64) -> Option<String> {
    let share = u128::from(used) * 100;
    if limit == 0 || share <= u128::from(limit) * u128::from(MEMORY_REFUSE_PERCENT) {
        return None;
    }
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    Some(format!(
        "{:.1} of {:.1} MiB are used; above {MEMORY_REFUSE_PERCENT} % nothing is enqueued",
        mib(used),
        mib(limit)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_can_be_near() {
        assert_eq!(refusal(u64::MAX, 0), None);
        assert_eq!(refusal(80, 100), None);
        let text = refusal(9 << 20, 10 << 20).unwrap();
        assert_eq!(text, "9.0 of 10.0 MiB are used; above 80 % nothing is enqueued");
    }

    #[test]
    fn one_of_many_callers_looks() {
        let guard = MemoryGuard::default();
        assert!(guard.is_due());
        assert!(!guard.is_due());
    }
}
