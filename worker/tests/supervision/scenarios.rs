//! What happens to a worker, and what must come of it.

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};
use nix::sys::signal::kill;

use crate::worker::{Worker, send};

/// All scenarios by name.
pub const ALL: &[(&str, fn())] = &[
    ("an_abort_is_a_crash_and_has_a_successor", an_abort_is_a_crash_and_has_a_successor),
    ("an_exit_in_a_task_is_a_crash", an_exit_in_a_task_is_a_crash),
    ("a_panic_does_not_unwind_into_the_supervisor", a_panic_does_not_unwind_into_the_supervisor),
    ("sigkill_is_a_loss", sigkill_is_a_loss),
    ("an_overrun_limit_is_enforced", an_overrun_limit_is_enforced),
    ("programs_of_a_dead_consumer_die", programs_of_a_dead_consumer_die),
    ("nothing_survives_the_supervisor", nothing_survives_the_supervisor),
    ("reports_survive_the_agent", reports_survive_the_agent),
    ("a_drain_kills_what_runs_on", a_drain_kills_what_runs_on),
    ("a_drain_waits_for_no_dead_agent", a_drain_waits_for_no_dead_agent),
    ("a_second_signal_stops_at_once", a_second_signal_stops_at_once),
    ("no_redis_ends_with_3", no_redis_ends_with_3),
    ("signals_to_children_are_harmless", signals_to_children_are_harmless),
    ("children_keep_only_what_is_theirs", children_keep_only_what_is_theirs),
    ("consumers_that_cannot_start_are_slowed_down", consumers_that_cannot_start_are_slowed_down),
    ("a_process_with_threads_may_not_fork", a_process_with_threads_may_not_fork),
];

fn an_abort_is_a_crash_and_has_a_successor() {
    let mut worker = Worker::start("aborts");
    let report = worker.line("report 1");
    assert!(report.starts_with("Crash Some((4, 1)) ordered=false"), "{report}");
    assert!(report.contains("progress=\"row 7\" killed by SIGABRT"), "{report}");
    worker.drain();
}

fn an_exit_in_a_task_is_a_crash() {
    let mut worker = Worker::start("exits");
    let report = worker.line("report 1");
    assert!(report.starts_with("Crash Some((4, 1))"), "{report}");
    assert!(report.ends_with("exited with code 0 in the middle of a task"), "{report}");
    worker.line("idle");
    worker.drain();
}

fn a_panic_does_not_unwind_into_the_supervisor() {
    let mut worker = Worker::start("panics");
    let report = worker.line("report 1");
    assert!(report.ends_with("exited with code 70 in the middle of a task"), "{report}");
    worker.drain();
}

fn sigkill_is_a_loss() {
    let mut worker = Worker::start("busy");
    send(worker.pid("busy"), SIGKILL);
    let report = worker.line("report 1");
    assert!(report.starts_with("Loss Some((4, 1)) ordered=false"), "{report}");
    worker.drain();
}

fn an_overrun_limit_is_enforced() {
    let mut worker = Worker::start("overruns");
    worker.line("busy");
    let report = worker.line("report 1");
    assert!(report.starts_with("TimeLimit Some((4, 1)) ordered=false"), "{report}");
    let run_ms: u64 = report.split_once("run_ms=").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(run_ms >= 2_050, "50 ms, and two seconds for the I/O thread: {report}");
    worker.drain();
}

fn programs_of_a_dead_consumer_die() {
    let mut worker = Worker::start("programs");
    let programs = [worker.pid("program"), worker.pid("program"), worker.pid("program")];
    send(worker.pid("busy"), SIGKILL);
    worker.line("idle");
    worker.signal(SIGTERM);
    // They hold stderr open, so its end proves their death too.
    assert_eq!(worker.end().0, Some(0));
    for program in programs {
        assert!(kill(program, None).is_err(), "{program} is alive");
    }
}

fn nothing_survives_the_supervisor() {
    let mut worker = Worker::start("program");
    worker.line("busy");
    worker.signal(SIGKILL);
    assert_eq!(worker.end().0, None);
}

fn reports_survive_the_agent() {
    let mut worker = Worker::start("agent_dies");
    let agent = worker.pid("agent");
    send(worker.pid("idle"), SIGKILL);
    worker.line("report 1");
    assert_ne!(worker.pid("agent"), agent);
    worker.line("report 1");
    worker.drain();
}

fn a_drain_kills_what_runs_on() {
    let mut worker = Worker::start("busy");
    worker.line("busy");
    worker.signal(SIGTERM);
    let report = worker.line("report 1");
    assert!(report.starts_with("Ordered Some((4, 1)) ordered=true"), "{report}");
    assert_eq!(worker.end().0, Some(0));
}

fn a_drain_waits_for_no_dead_agent() {
    let mut worker = Worker::start("no_acks");
    worker.line("idle");
    worker.signal(SIGTERM);
    worker.line("report 1");
    assert_eq!(worker.end().0, Some(0));
}

fn a_second_signal_stops_at_once() {
    for (signal, code) in [(SIGTERM, 143), (SIGINT, 130)] {
        let mut worker = Worker::start("busy_for_long");
        worker.line("busy");
        worker.signal(SIGTERM);
        // Two signals that nobody has read yet can be one: wait until the first was.
        worker.line("told to drain");
        worker.signal(signal);
        let (found, lines) = worker.end();
        assert_eq!(found, Some(code));
        assert!(lines.iter().any(|line| line.starts_with("report 1 Ordered")), "{lines:?}");
    }
}

fn no_redis_ends_with_3() {
    let (code, _) = Worker::start("no_redis").end();
    assert_eq!(code, Some(3));
}

fn signals_to_children_are_harmless() {
    let mut worker = Worker::start("idle");
    let (agent, consumer) = (worker.pid("agent"), worker.pid("idle"));
    for pid in [agent, consumer] {
        send(pid, SIGTERM);
        send(pid, SIGINT);
    }
    worker.signal(SIGTERM);
    let (code, lines) = worker.end();
    assert_eq!(code, Some(0));
    assert!(lines.iter().any(|line| line.contains("left in order (drain), exited with code 0")), "{lines:?}");
}

fn children_keep_only_what_is_theirs() {
    let mut worker = Worker::start("files");
    let files: Vec<String> =
        std::iter::from_fn(|| Some(worker.line(""))).take_while(|line| !line.starts_with("idle")).collect();
    let named = |name: &str| files.iter().filter(|line| line.starts_with("file ") && line.contains(name)).count();
    assert_eq!(named("/dev/null"), 1, "stdin: {files:?}");
    assert_eq!(named("/dev/zero"), 1, "what the program opened itself: {files:?}");
    assert_eq!(named("pipe:"), 3, "stdout, stderr and the control pipe: {files:?}");
    assert_eq!(named("anon_inode"), 0, "not the supervisor's signals: {files:?}");
    worker.drain();
}

fn consumers_that_cannot_start_are_slowed_down() {
    let mut worker = Worker::start("never_joins");
    let mut started_ms = || worker.line("started_ms").parse::<u64>().unwrap();
    let times = [started_ms(), started_ms(), started_ms(), started_ms()];
    assert!(times[3] - times[0] >= 700, "100, 200 and 400 ms: {times:?}");
    worker.drain();
}

fn a_process_with_threads_may_not_fork() {
    let mut worker = Worker::start("threads");
    let refusal = worker.line("refused:");
    assert!(refusal.contains("has 2 threads"), "{refusal}");
}
