//! How a worker stops: consumers first, then their deaths are dealt with, the agent last.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::config::WorkerConfig;
use crate::roles::{EXIT_OK, EXIT_REDIS};

/// After a drain the agent has this long to give back what killed consumers held, if the grace lasts so long.
const REPORTING: Duration = Duration::from_secs(5);
/// It has this long in any case, also after a second signal.
const REPORTING_AT_ONCE: Duration = Duration::from_secs(2);
/// The agent has this long to leave.
const LEAVING: Duration = Duration::from_secs(2);

/// Where the worker stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It works.
    Running,
    /// Consumers finish what they run, until they are killed.
    Draining {
        /// When what still runs is killed.
        kill_at: Instant,
    },
    /// Consumers are gone; the agent takes back what they held.
    Reporting {
        /// When we wait no longer; leases expire anyway.
        until: Instant,
    },
    /// The agent was told to leave.
    Closing {
        /// When it is killed.
        until: Instant,
    },
}

/// The way from the first signal to the exit code.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) phase: Phase,
    grace: Duration,
    /// When the grace is over.
    by: Option<Instant>,
    reporting: Duration,
    code: u8,
}

/// What the supervisor has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Tell the consumers to drain.
    Drain,
    /// Kill the consumers, in order.
    KillConsumers,
    /// The consumers are gone: an agent is needed now.
    NeedAgent,
    /// Tell the agent to leave.
    DismissAgent,
    /// Kill the agent.
    KillAgent,
    /// Leave with this code.
    Exit(u8),
}

impl Stopping {
    pub(super) fn new(config: &WorkerConfig) -> Self {
        Self { phase: Phase::Running, grace: config.grace, by: None, reporting: REPORTING, code: EXIT_OK }
    }

    /// Whether consumers are replaced.
    pub(super) fn wants_consumers(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether the agent is replaced: until it was told to leave, or has given up.
    pub(super) fn wants_agent(&self) -> bool {
        self.code != EXIT_REDIS && !matches!(self.phase, Phase::Closing { .. })
    }

    /// The first signal drains, the second ends everything at once.
    pub(super) fn signal(&mut self, signal: Signal, now: Instant) -> Step {
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Draining { kill_at: now + self.grace };
                self.by = Some(now + self.grace);
                Step::Drain
            }
            _ => {
                self.code = 128 + signal as u8;
                self.reporting = REPORTING_AT_ONCE;
                match &mut self.phase {
                    Phase::Reporting { until } => *until = (*until).min(now + REPORTING_AT_ONCE),
                    Phase::Draining { kill_at } => *kill_at = now,
                    Phase::Closing { .. } | Phase::Running => {}
                }
                Step::KillConsumers
            }
        }
    }

    /// Redis was never reached: there is nothing to drain or to report.
    pub(super) fn give_up(&mut self, now: Instant) -> Step {
        if self.phase != Phase::Running {
            return Step::Wait;
        }
        self.code = EXIT_REDIS;
        self.reporting = Duration::ZERO;
        self.phase = Phase::Draining { kill_at: now };
        Step::KillConsumers
    }

    /// What is due, given who is still there.
    pub(super) fn step(&mut self, now: Instant, consumers: bool, agent: bool, all_acknowledged: bool) -> Step {
        match self.phase {
            Phase::Running => Step::Wait,
            Phase::Draining { .. } if !consumers => {
                let left = self.by.map_or(REPORTING, |by| by.saturating_duration_since(now));
                self.phase = Phase::Reporting { until: now + self.reporting.min(left.max(REPORTING_AT_ONCE)) };
                if agent || all_acknowledged || !self.wants_agent() {
                    return self.step(now, consumers, agent, all_acknowledged);
                }
                Step::NeedAgent
            }
            Phase::Draining { kill_at } if now >= kill_at => {
                // Again later only for one that the system is slow to kill.
                self.phase = Phase::Draining { kill_at: now + LEAVING };
                Step::KillConsumers
            }
            Phase::Reporting { until } if all_acknowledged || now >= until => {
                self.phase = Phase::Closing { until: now + LEAVING };
                Step::DismissAgent
            }
            Phase::Closing { .. } if !agent => Step::Exit(self.code),
            Phase::Closing { until } if now >= until => {
                self.phase = Phase::Closing { until: now + LEAVING };
                Step::KillAgent
            }
            _ => Step::Wait,
        }
    }

    /// When [`Stopping::step`] has something to do at the latest.
    pub(super) fn next_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => None,
            Phase::Draining { kill_at: at } | Phase::Reporting { until: at } | Phase::Closing { until: at } => Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopping() -> Stopping {
        let grace = Duration::from_secs(25);
        Stopping { phase: Phase::Running, grace, by: None, reporting: REPORTING, code: EXIT_OK }
    }

    #[test]
    fn a_drain_ends_with_0() {
        let (mut stopping, now) = (stopping(), Instant::now());
        assert_eq!(stopping.step(now, true, true, true), Step::Wait);
        assert_eq!(stopping.signal(Signal::SIGTERM, now), Step::Drain);
        assert!(!stopping.wants_consumers());
        assert_eq!(stopping.step(now, true, true, true), Step::Wait);
        assert_eq!(stopping.step(now, false, true, false), Step::Wait, "a report is not acknowledged");
        assert_eq!(stopping.step(now, false, true, true), Step::DismissAgent);
        assert!(!stopping.wants_agent());
        assert_eq!(stopping.step(now, false, true, true), Step::Wait);
        assert_eq!(stopping.step(now, false, false, true), Step::Exit(0));
    }

    #[test]
    fn nothing_waits_for_ever() {
        let (mut stopping, now) = (stopping(), Instant::now());
        stopping.signal(Signal::SIGTERM, now);
        let now = now + Duration::from_secs(25);
        assert_eq!(stopping.step(now, true, true, false), Step::KillConsumers);
        stopping.step(now, false, true, false);
        let now = now + REPORTING_AT_ONCE;
        assert_eq!(stopping.step(now, false, true, false), Step::DismissAgent, "the grace is over");
        assert_eq!(stopping.step(now + LEAVING, false, true, false), Step::KillAgent);
    }

    #[test]
    fn reports_have_time_while_the_grace_lasts() {
        let (mut stopping, now) = (stopping(), Instant::now());
        stopping.signal(Signal::SIGTERM, now);
        assert_eq!(stopping.step(now, false, true, false), Step::Wait);
        assert_eq!(stopping.phase, Phase::Reporting { until: now + REPORTING });
    }

    #[test]
    fn who_has_deaths_to_report_needs_an_agent_now() {
        let (mut stopping, now) = (stopping(), Instant::now());
        stopping.signal(Signal::SIGTERM, now);
        assert_eq!(stopping.step(now, false, false, false), Step::NeedAgent);
        assert_eq!(stopping.step(now, false, false, false), Step::Wait, "once is enough");
        assert_eq!(stopping.step(now, false, false, true), Step::DismissAgent);
    }

    #[test]
    fn a_second_signal_ends_at_once_with_its_number() {
        for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
            let (mut stopping, now) = (stopping(), Instant::now());
            stopping.signal(Signal::SIGTERM, now);
            assert_eq!(stopping.signal(signal, now), Step::KillConsumers);
            assert_eq!(stopping.step(now, false, true, false), Step::Wait);
            assert_eq!(stopping.phase, Phase::Reporting { until: now + REPORTING_AT_ONCE });
            assert_eq!(stopping.step(now, false, true, true), Step::DismissAgent);
            assert_eq!(stopping.step(now, false, false, true), Step::Exit(code));
        }
    }

    #[test]
    fn giving_up_reports_nothing() {
        let (mut stopping, now) = (stopping(), Instant::now());
        assert_eq!(stopping.give_up(now), Step::KillConsumers);
        assert!(!stopping.wants_agent());
        assert_eq!(stopping.step(now, true, false, false), Step::KillConsumers);
        assert_eq!(stopping.step(now, false, false, false), Step::DismissAgent);
        assert_eq!(stopping.step(now, false, false, false), Step::Exit(3));
    }
}
