use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use gristmill::Client;
use gristmill_worker::testing::{self, MillError, MillOptions};

use crate::WORKER;

gristmill::remote_kernel! {
    fn absent() -> () = "absent";
    fn model(wait_ms: u64) -> (usize, u8, u32) = "model";
}

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn three_lines_are_a_test() {
    let mill = testing::start(WORKER).unwrap();
    let client = Client::connect(&mill.url()).await.unwrap();
    let (bytes, first, _) = client.submit(model, 0).await.unwrap().result().await.unwrap();
    assert_eq!((bytes, first), (1_000, 7));
    let worker = mill.worker_pid();
    mill.stop().unwrap();
    assert!(!lives(worker));
}

#[test]
fn it_is_ready_when_it_is_there_and_gone_when_it_is_dropped() {
    let mill = MillOptions::new(WORKER).consumers(2).worker_args(["--queues", "a,b"]).start().unwrap();
    let pid = mill.worker_pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(children.len(), 3, "two consumers and the agent");
    drop(mill);
    let deadline = Instant::now() + Duration::from_secs(5);
    while children.iter().any(|&pid| lives(pid)) {
        assert!(Instant::now() < deadline, "a process has outlived its worker");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_worker_that_does_not_start_is_quoted() {
    let error = MillOptions::new(WORKER).variable("MODEL_BYTES", "much").start().unwrap_err().to_string();
    assert!(error.contains("has ended with exit code 2; see to what it complains of"), "{error}");
    let said = "it said: \ngristmill-worker: preload failed: invalid digit found in string";
    assert!(error.contains(said), "{error}");
    let error = MillOptions::new(WORKER).worker_args(["--lease", "soon"]).start().unwrap_err().to_string();
    assert!(error.contains("it said: \ngristmill-worker: --lease is \"soon\""), "{error}");
    let error = testing::start("/no/such/worker").unwrap_err();
    assert!(matches!(&error, MillError::Program { .. }), "{error:?}");
    assert!(error.to_string().starts_with("cannot run the worker /no/such/worker: "), "{error}");
    // It takes a program for a worker only that says so.
    let error = MillOptions::new("/bin/sleep").within(Duration::from_secs(5)).start().unwrap_err().to_string();
    assert!(error.contains("the worker /bin/sleep has ended with exit code 1"), "{error}");
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_quoted() {
    let mill = MillOptions::new(WORKER).variable("INIT", "error").within(Duration::from_millis(700));
    let error = mill.start().unwrap_err().to_string();
    assert!(error.contains("init failed, a successor will try again: no scratch disk"), "{error}");
}

/// What a test process leaves that is killed. The child is this program, and runs the test below.
#[test]
fn a_killed_test_leaves_no_worker() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("pid");
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["mill::waits_to_be_killed", "--exact", "--ignored", "--nocapture"])
        .env("TELL", &told)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let pid = loop {
        if let Some(pid) = pid_in(&told) {
            break pid;
        }
        assert!(Instant::now() < deadline && test.try_wait().unwrap().is_none(), "no mill");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(lives(pid));
    test.kill().unwrap();
    test.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while lives(pid) {
        assert!(Instant::now() < deadline, "the worker has outlived its test");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pid_in(file: &Path) -> Option<u32> {
    std::fs::read_to_string(file).ok()?.trim_end_matches('.').parse().ok()
}

#[test]
#[ignore = "the test above runs and kills it"]
fn waits_to_be_killed() {
    let mill = testing::start(WORKER).unwrap();
    let told = std::env::var_os("TELL").unwrap();
    let half = Path::new(&told).with_extension("half");
    std::fs::write(&half, mill.worker_pid().to_string()).unwrap();
    // Whole, or not there.
    std::fs::rename(half, told).unwrap();
    loop {
        std::thread::park();
    }
}
