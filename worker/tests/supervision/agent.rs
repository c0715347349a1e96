//! An agent that prints the reports it gets, and acknowledges them.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

use crate::control::DeathReader;
use crate::roles::{AgentStart, EXIT_OK, EXIT_REDIS};
use crate::{first, read_blocking, say, scenario};

/// Runs it.
pub fn run(start: AgentStart) -> u8 {
    say(format_args!("agent {}", std::process::id()));
    let scenario = scenario();
    if scenario == "no_redis" {
        return EXIT_REDIS;
    }
    let mut reader = DeathReader::default();
    loop {
        let ready = |flags: Option<PollFlags>| flags.is_some_and(|flags| !flags.is_empty());
        let mut pipes = [start.control.as_fd(), start.reports.as_fd()].map(|pipe| PollFd::new(pipe, PollFlags::POLLIN));
        let _ = poll(&mut pipes, PollTimeout::NONE);
        let (command, report) = (ready(pipes[0].revents()), ready(pipes[1].revents()));
        if report {
            reader.push(&read_blocking(&start.reports));
        }
        while let Some(death) = reader.next().unwrap() {
            let certificate = &death.certificate;
            say(format_args!(
                "report {} {:?} {:?} ordered={} run_ms={} progress={:?} {}",
                death.report_id,
                certificate.cause,
                death.running,
                death.ordered,
                certificate.run_ms.unwrap_or(0),
                certificate.progress.as_deref().unwrap_or(""),
                certificate.summary
            ));
            if scenario == "agent_dies" && first("agent_died") {
                std::process::abort();
            }
            if scenario != "no_acks" {
                nix::unistd::write(&start.acks, &death.report_id.to_be_bytes()).unwrap();
            }
        }
        if command {
            return EXIT_OK;
        }
    }
}
