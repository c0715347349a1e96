//! Reports of deaths on their way to the agent.
//!
//! A report is kept until the agent acknowledges it, and sent again to each new agent. Nothing here
//! waits: what the pipe does not take now is sent when it has room.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gristmill_shared::{Certificate, ConsumerId, events};
use nix::errno::Errno;
use nix::unistd;

use super::child::write_some;
use crate::control::{AckReader, Death};

/// Beyond this many the oldest is dropped: its lease expires, and another agent finds it by that.
const UNACKNOWLEDGED_MAX: usize = 10_000;

/// The supervisor's side of the agent's two pipes, and what is not acknowledged yet.
#[derive(Debug, Default)]
pub(super) struct Reports {
    last_id: u64,
    waiting: BTreeMap<u64, Vec<u8>>,
    /// Ids that this agent has not been sent completely; the first may have gone in part.
    unsent: VecDeque<u64>,
    sent_of_first: usize,
    to_agent: Option<OwnedFd>,
    from_agent: Option<OwnedFd>,
    acks: AckReader,
}

impl Reports {
    /// Adds the report of a death.
    pub(super) fn add(
        &mut self,
        consumer: ConsumerId,
        place: usize,
        running: Option<(u64, u32)>,
        ordered: bool,
        certificate: Certificate,
    ) {
        self.last_id += 1;
        match Death::new(self.last_id, consumer, place, running, ordered, certificate).to_frame() {
            Ok(frame) => {
                self.waiting.insert(self.last_id, frame);
                self.unsent.push_back(self.last_id);
            }
            // Every part of a report is bounded, so this is a bug; the expiry of the lease heals it.
            Err(error) => tracing::error!(event = events::REPORTS_DROPPED, reports = 1, %consumer, %error),
        }
        if self.waiting.len() > UNACKNOWLEDGED_MAX {
            self.drop_oldest();
        }
        self.send();
    }

    /// A new agent: everything that is not acknowledged goes to it.
    pub(super) fn connect(&mut self, to_agent: OwnedFd, from_agent: OwnedFd) {
        self.unsent = self.waiting.keys().copied().collect();
        self.sent_of_first = 0;
        self.acks = AckReader::default();
        (self.to_agent, self.from_agent) = (Some(to_agent), Some(from_agent));
        self.send();
    }

    /// The agent is dead. What it had acknowledged before still counts.
    pub(super) fn disconnect(&mut self) {
        self.receive();
        (self.to_agent, self.from_agent) = (None, None);
    }

    /// Number of deaths that were not dealt with yet.
    pub(super) fn unacknowledged(&self) -> usize {
        self.waiting.len()
    }

    /// The pipe to wait at until it has room, if something is to be sent.
    pub(super) fn wants_to_write(&self) -> Option<BorrowedFd<'_>> {
        self.to_agent.as_ref().filter(|_| !self.unsent.is_empty()).map(AsFd::as_fd)
    }

    /// The pipe to wait at for acknowledgements.
    pub(super) fn wants_to_read(&self) -> Option<BorrowedFd<'_>> {
        self.from_agent.as_ref().map(AsFd::as_fd)
    }

    /// Sends what the pipe takes.
    pub(super) fn send(&mut self) {
        while let (Some(pipe), Some(&id)) = (&self.to_agent, self.unsent.front()) {
            // Acknowledged by an earlier agent in the meantime, and no byte of it sent to this one.
            let Some(frame) = self.waiting.get(&id) else {
                self.unsent.pop_front();
                continue;
            };
            match write_some(pipe, &frame[self.sent_of_first..]) {
                Ok(0) => return,
                Ok(count) => self.sent_of_first += count,
                // The agent is dying; its successor gets everything again.
                Err(_) => return self.to_agent = None,
            }
            if self.sent_of_first == frame.len() {
                self.unsent.pop_front();
                self.sent_of_first = 0;
            }
        }
    }

    /// Takes acknowledgements.
    pub(super) fn receive(&mut self) {
        let mut buffer = [0; 1024];
        while let Some(pipe) = &self.from_agent {
            match unistd::read(pipe, &mut buffer) {
                Ok(0) => self.from_agent = None,
                Ok(count) => {
                    for id in self.acks.push(&buffer[..count]) {
                        self.waiting.remove(&id);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.from_agent = None,
            }
        }
    }

    fn drop_oldest(&mut self) {
        // The first that is unsent may have gone in part: it must stay whole.
        let partly = self.unsent.front().copied().filter(|_| self.sent_of_first > 0);
        let oldest = self.waiting.keys().copied().find(|&id| Some(id) != partly);
        if let Some(id) = oldest {
            self.waiting.remove(&id);
            tracing::warn!(event = events::REPORTS_DROPPED, reports = 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::child::pipe;
    use super::*;
    use crate::control::DeathReader;
    use gristmill_shared::DeathCause;

    fn add(reports: &mut Reports) {
        let consumer = ConsumerId::new();
        let certificate = Certificate::unseen(DeathCause::Crash, consumer.to_string(), "x".repeat(1_000));
        reports.add(consumer, 0, None, false, certificate);
    }

    /// An agent's ends: (reports, acks).
    fn connect(reports: &mut Reports) -> (OwnedFd, OwnedFd) {
        let ((reader, to_agent), (from_agent, writer)) = (pipe().unwrap(), pipe().unwrap());
        reports.connect(to_agent, from_agent);
        (reader, writer)
    }

    /// Reads until the supervisor has nothing more to send.
    fn read_all(reports: &mut Reports, pipe: &OwnedFd) -> Vec<u64> {
        let (mut reader, mut ids, mut buffer) = (DeathReader::default(), Vec::new(), [0; 4096]);
        loop {
            match unistd::read(pipe, &mut buffer) {
                Ok(count) => reader.push(&buffer[..count]),
                Err(_) if reports.wants_to_write().is_some() => reports.send(),
                Err(_) => return ids,
            }
            while let Some(death) = reader.next().unwrap() {
                ids.push(death.report_id);
            }
        }
    }

    #[test]
    fn more_than_a_pipe_holds_arrives_in_order() {
        let mut reports = Reports::default();
        let (reader, _writer) = connect(&mut reports);
        (0..300).for_each(|_| add(&mut reports));
        assert!(reports.wants_to_write().is_some(), "300 kB do not fit into a pipe");
        assert_eq!(read_all(&mut reports, &reader), (1..=300).collect::<Vec<_>>());
    }

    #[test]
    fn a_new_agent_gets_what_the_old_one_left() {
        let mut reports = Reports::default();
        (0..3).for_each(|_| add(&mut reports));
        let (reader, writer) = connect(&mut reports);
        assert_eq!(read_all(&mut reports, &reader), [1, 2, 3]);
        unistd::write(&writer, &2u64.to_be_bytes()).unwrap();
        drop((reader, writer));
        reports.disconnect();
        assert_eq!(reports.unacknowledged(), 2);
        let (reader, writer) = connect(&mut reports);
        assert_eq!(read_all(&mut reports, &reader), [1, 3]);
        unistd::write(&writer, &[1u64.to_be_bytes(), 3u64.to_be_bytes()].concat()).unwrap();
        reports.receive();
        assert_eq!(reports.unacknowledged(), 0);
    }

    #[test]
    fn reports_without_end_are_dropped_from_the_old_end() {
        let mut reports = Reports::default();
        (0..=UNACKNOWLEDGED_MAX).for_each(|_| add(&mut reports));
        assert_eq!(reports.unacknowledged(), UNACKNOWLEDGED_MAX);
        assert!(!reports.waiting.contains_key(&1));
    }
}
