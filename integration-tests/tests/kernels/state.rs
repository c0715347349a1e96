use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gristmill::SubmitOptions;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{client, failure, mill};

const MIB: usize = 1 << 20;

/// A field of /proc/<pid>/smaps_rollup, bytes.
fn memory(pid: u32, field: &str) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn what_was_preloaded_stands_in_memory_once() {
    let bytes = 200 * MIB;
    let mill = mill().consumers(2).variable("MODEL_BYTES", bytes.to_string()).start().unwrap();
    let client = client(&mill).await;
    let mut pids = BTreeSet::new();
    while pids.len() < 2 {
        let map = client.map_dyn::<(usize, u8, u32), _>("model", [50; 4], &SubmitOptions::new()).await.unwrap();
        for (found, first, pid) in map.collect().await.unwrap() {
            assert_eq!((found, first), (bytes, 7));
            pids.insert(pid);
        }
    }
    // Supervisor and agent have it, too: of what is shared, each process counts its part.
    let sum = |field| pids.iter().map(|&pid| memory(pid, field)).sum::<usize>();
    let (seen, own) = (sum("Rss:"), sum("Pss:"));
    assert!(seen > 2 * bytes, "both see all of it: {} MiB", seen / MIB);
    assert!(own < bytes + bytes / 10, "and it stands there once: {} MiB", own / MIB);
    mill.stop().unwrap();
}

#[tokio::test]
async fn each_consumer_has_a_state_of_its_own() {
    let mill = mill().consumers(2).start().unwrap();
    let client = client(&mill).await;
    for _ in 0..4 {
        let (made_by, threads, pid): (u32, usize, u32) =
            client.submit_dyn("scratch", &(), &SubmitOptions::new()).await.unwrap().result().await.unwrap();
        assert_eq!((made_by, threads), (pid, 2), "on the thread that computes, before there is any but its own");
    }
    mill.stop().unwrap();
}

#[tokio::test]
async fn what_init_has_made_counts_against_no_limit() {
    let limits = ["--memory-limit", "64MiB", "--max-memory-per-consumer", "32MiB"];
    let mill = mill().variable("INIT", "large").worker_args(limits).start().unwrap();
    let client = client(&mill).await;
    let mut pids = BTreeSet::new();
    for _ in 0..3 {
        let (.., pid): (u32, usize, u32) =
            client.submit_dyn("scratch", &(), &SubmitOptions::new()).await.unwrap().result().await.unwrap();
        pids.insert(pid);
    }
    assert_eq!(pids.len(), 1, "nobody makes room");
    mill.stop().unwrap();
}

#[tokio::test]
async fn a_state_that_is_missing_is_named() {
    let mill = mill().start().unwrap();
    let failed = failure(&client(&mill).await, "absent", ()).await;
    assert_eq!((failed.kind_name(), failed.attempt), (Some("missing_state"), 1));
    assert!(
        failed.message.contains("keeps no stateful_worker::Absent, it keeps stateful_worker::Model, u32"),
        "{failed}"
    );
    assert!(failed.message.contains("return one from Worker::preload"), "{failed}");
    mill.stop().unwrap();
}

#[test]
fn an_init_that_fails_is_tried_again_ever_later() {
    for (how, says) in [("error", "no scratch disk"), ("panic", "panicked: no scratch disk at all (at ")] {
        let started = Instant::now();
        let error = mill().variable("INIT", how).within(Duration::from_secs(2)).start().unwrap_err().to_string();
        let tries = error.matches("init failed, a successor will try again").count();
        // After 0, 100, 300, 700, 1,500 ms: twice the pause each time, however slow the machine is.
        let pauses = Duration::from_millis(100 * ((1 << tries.clamp(1, 16).saturating_sub(1)) - 1));
        assert!(tries >= 2 && pauses <= started.elapsed(), "{tries} tries in {:?}: {error}", started.elapsed());
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("consumer died"), "it is no crash: {error}");
    }
}

#[test]
fn a_worker_that_initialises_can_be_stopped() {
    let mill = mill().variable("INIT", "hang").consumers(1);
    // It is never ready: looked at from beside.
    let worker = std::thread::spawn(move || mill.within(Duration::from_secs(4)).start());
    let deadline = Instant::now() + Duration::from_secs(4);
    let own = std::process::id();
    let supervisor = loop {
        let found = children(own).into_iter().find(|&pid| name(pid) == "stateful-worker" && children(pid).len() == 2);
        if let Some(pid) = found {
            break pid;
        }
        assert!(Instant::now() < deadline, "no worker");
        std::thread::sleep(Duration::from_millis(5));
    };
    kill(Pid::from_raw(supervisor as i32), Signal::SIGTERM).unwrap();
    let error = worker.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("has ended with exit code 0"), "{error}");
}

/// The children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
