//! Why a consumer died: the one place that tells crash, loss, limit and ordered apart.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use gristmill_shared::{Certificate, DeathCause, size};
use nix::sys::signal::Signal;

use crate::process::Reaped;
use crate::slot::{EndedFor, Leaving, MemoryLimit, SlotSnapshot};

/// All that is known when a consumer is found dead.
#[derive(Debug, Clone)]
pub(super) struct Evidence<'a> {
    pub(super) reaped: Reaped,
    pub(super) slot: &'a SlotSnapshot,
    /// The supervisor killed it because a limit had passed for too long.
    pub(super) overran: bool,
    /// It was killed by SIGKILL while the out-of-memory killer struck, or the system refused it memory.
    pub(super) out_of_memory: bool,
    pub(super) host: &'a str,
}

impl Evidence<'_> {
    /// Whether we wanted the death: nobody is to be blamed.
    pub(super) fn ordered(&self) -> bool {
        let wanted = self.slot.leaving != Leaving::None || self.slot.ended == Some(EndedFor::Order);
        wanted && !self.overran
    }

    /// Crash, loss, limit or ordered.
    pub(super) fn cause(&self) -> DeathCause {
        if self.ordered() {
            return DeathCause::Ordered;
        }
        if self.overran || self.ended_by_time_limit() {
            return DeathCause::TimeLimit;
        }
        if self.passed_memory_limit().is_some() {
            return DeathCause::MemoryLimit;
        }
        match self.reaped.status.signal() {
            Some(libc::SIGKILL) if !self.out_of_memory => DeathCause::Loss,
            _ => DeathCause::Crash,
        }
    }

    /// The death certificate.
    pub(super) fn certificate(&self) -> Certificate {
        let status = self.reaped.status;
        let task = self.slot.task.as_ref();
        Certificate {
            cause: self.cause(),
            summary: self.summary(),
            item: task.map(|task| task.item),
            signal: status.signal(),
            exit_code: status.code(),
            core_dumped: status.core_dumped(),
            out_of_memory: self.out_of_memory,
            peak_rss_bytes: Some(self.reaped.peak_rss_bytes.max(self.slot.peak_rss_bytes)).filter(|&bytes| bytes > 0),
            run_ms: task.map(|task| task.run_ms),
            progress: self.slot.progress.clone(),
            fraction: self.slot.fraction,
            consumer: self.slot.consumer.to_string(),
            host: Some(self.host.to_owned()),
        }
    }

    /// The I/O thread ended the task because its limit had passed, but died before it had settled that.
    fn ended_by_time_limit(&self) -> bool {
        let limit_passed = |deadline_ms| crate::clock::monotonic_ms() >= deadline_ms;
        let ended = self.slot.ended == Some(EndedFor::Limit);
        ended && self.slot.task.and_then(|task| task.deadline_ms).is_some_and(limit_passed)
    }

    /// The I/O thread saw that the task had passed its memory limit, or an allocation beyond it failed.
    fn passed_memory_limit(&self) -> Option<MemoryLimit> {
        let seen = self.slot.ended == Some(EndedFor::Memory);
        self.slot.task?.memory.filter(|_| seen || starved(&self.reaped, self.slot))
    }

    fn memory_limit_summary(&self) -> String {
        let Some(limit) = self.passed_memory_limit() else { return String::new() };
        let bytes = size::text(limit.bytes);
        if self.slot.ended == Some(EndedFor::Memory) {
            let used = size::text(self.slot.memory_held.saturating_sub(limit.before));
            return format!("passed its memory limit of {bytes}: it used {used}");
        }
        format!("passed its memory limit of {bytes}: an allocation beyond it failed")
    }

    fn summary(&self) -> String {
        let end = describe(self.reaped.status);
        match self.cause() {
            DeathCause::Ordered => format!("left in order ({}), {end}", self.slot.leaving.as_str()),
            DeathCause::TimeLimit if self.overran => "ran on after its time limit and was killed".to_owned(),
            DeathCause::TimeLimit => format!("passed its time limit, {end}"),
            DeathCause::MemoryLimit => self.memory_limit_summary(),
            _ if self.out_of_memory => format!("{end}: the system was out of memory"),
            _ if self.reaped.status.code().is_some() && self.slot.task.is_some() => {
                format!("{end} in the middle of a task")
            }
            _ => end,
        }
    }
}

/// Whether a process aborted because the system refused it memory.
pub(super) fn starved(reaped: &Reaped, slot: &SlotSnapshot) -> bool {
    slot.starved && reaped.status.signal() == Some(libc::SIGABRT)
}

/// How a process ended, for people.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |s| s.as_str().to_owned());
            let core = if status.core_dumped() { " (core dumped)" } else { "" };
            format!("killed by {name}{core}")
        }
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::{Begin, Slot};
    use gristmill_shared::{BatchId, ConsumerId};
    use std::time::Duration;

    const SIGSEGV_AND_CORE: i32 = libc::SIGSEGV | 0x80;
    const EXIT_3: i32 = 3 << 8;

    fn slot(running: bool, leaving: Leaving) -> SlotSnapshot {
        let slot = Slot::default();
        slot.reset(ConsumerId::new());
        if running {
            let time_limit = Some(Duration::ZERO);
            let task = BatchId::new().task(0);
            assert!(slot.begin(&Begin { position: 4, item: 1, task, kernel: 0, time_limit, memory: None }));
            slot.note_progress(Some(0.7), "row 7");
        }
        slot.leave(leaving);
        slot.snapshot()
    }

    fn certificate(status: i32, slot: &SlotSnapshot, out_of_memory: bool, overran: bool) -> Certificate {
        let reaped = Reaped { status: ExitStatus::from_raw(status), peak_rss_bytes: 4_096 };
        Evidence { reaped, slot, overran, out_of_memory, host: "h1" }.certificate()
    }

    #[test]
    fn a_signal_of_its_own_is_a_crash() {
        let found = certificate(SIGSEGV_AND_CORE, &slot(true, Leaving::None), false, false);
        assert_eq!((found.cause, found.signal, found.core_dumped), (DeathCause::Crash, Some(11), true));
        assert_eq!(found.summary, "killed by SIGSEGV (core dumped)");
        assert_eq!((found.item, found.progress.as_deref(), found.fraction), (Some(1), Some("row 7"), Some(0.7)));
        assert_eq!((found.peak_rss_bytes, found.host.as_deref()), (Some(4_096), Some("h1")));
    }

    #[test]
    fn an_exit_in_the_middle_of_a_task_is_a_crash_whatever_its_code() {
        for (status, text) in [(0, "exited with code 0"), (EXIT_3, "exited with code 3")] {
            let found = certificate(status, &slot(true, Leaving::None), false, false);
            assert_eq!(found.cause, DeathCause::Crash);
            assert_eq!(found.summary, format!("{text} in the middle of a task"));
        }
    }

    #[test]
    fn sigkill_is_a_loss_unless_memory_was_short() {
        let slot = slot(true, Leaving::None);
        let found = certificate(libc::SIGKILL, &slot, false, false);
        assert_eq!((found.cause, found.summary.as_str()), (DeathCause::Loss, "killed by SIGKILL"));
        let found = certificate(libc::SIGKILL, &slot, true, false);
        assert_eq!((found.cause, found.out_of_memory), (DeathCause::Crash, true));
    }

    #[test]
    fn a_leaving_mark_makes_any_death_ordered() {
        for status in [0, libc::SIGKILL, SIGSEGV_AND_CORE] {
            let found = certificate(status, &slot(true, Leaving::Drain), false, false);
            assert_eq!(found.cause, DeathCause::Ordered);
        }
        let found = certificate(0, &slot(false, Leaving::Recycle), false, false);
        assert_eq!(found.summary, "left in order (recycle), exited with code 0");
    }

    #[test]
    fn a_limit_that_the_supervisor_enforced_is_a_limit() {
        let found = certificate(libc::SIGKILL, &slot(true, Leaving::None), false, true);
        assert_eq!(found.cause, DeathCause::TimeLimit);
        assert!(found.run_ms.is_some());
    }

    #[test]
    fn a_limit_that_was_not_settled_in_time_is_a_limit() {
        let mut ended = slot(true, Leaving::None);
        ended.ended = Some(EndedFor::Limit);
        assert_eq!(certificate(libc::SIGKILL, &ended, false, false).cause, DeathCause::TimeLimit);
        // Ended for a cancel or a drain, and the limit has passed since.
        ended.ended = Some(EndedFor::Order);
        assert_eq!(certificate(libc::SIGKILL, &ended, false, false).cause, DeathCause::Ordered);
    }

    #[test]
    fn a_memory_limit_is_told_with_its_numbers() {
        let mut ended = slot(true, Leaving::None);
        ended.ended = Some(EndedFor::Memory);
        ended.memory_held = 301 << 20;
        if let Some(task) = &mut ended.task {
            task.memory = Some(MemoryLimit { bytes: 256 << 20, before: 1 << 20 });
        }
        let found = certificate(libc::SIGKILL, &ended, false, false);
        assert_eq!(found.cause, DeathCause::MemoryLimit);
        assert_eq!(found.summary, "passed its memory limit of 256MiB: it used 300MiB");
        (ended.ended, ended.starved) = (None, true);
        let found = certificate(libc::SIGABRT, &ended, true, false);
        assert_eq!(found.summary, "passed its memory limit of 256MiB: an allocation beyond it failed");
        assert_eq!(certificate(libc::SIGSEGV, &ended, false, false).cause, DeathCause::Crash);
        if let Some(task) = &mut ended.task {
            task.memory = None;
        }
        let found = certificate(libc::SIGABRT, &ended, true, false);
        assert_eq!((found.cause, found.out_of_memory), (DeathCause::Crash, true), "the machine is full");
        assert_eq!(found.summary, "killed by SIGABRT: the system was out of memory");
    }

    #[test]
    fn signals_without_a_name_have_a_number() {
        assert_eq!(describe(ExitStatus::from_raw(34)), "killed by signal 34");
    }
}
