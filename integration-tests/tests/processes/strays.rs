//! Programs that a kernel started end with the consumer, wherever they hide.

use gristmill::SubmitOptions;
use gristmill_integration_tests::pids::Process;
use gristmill_integration_tests::worker::assert_gone;
use gristmill_integration_tests::{Redis, WorkerOptions};
use gristmill_kernels::square;
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_end_with_their_consumer() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().program(env!("CARGO_BIN_EXE_odd-worker")).start(&redis);
    let client = redis.client().await;
    let leave = async |own_session: bool| {
        let task = client.submit_dyn::<u32>("leave_program", &own_session, &SubmitOptions::new()).await.unwrap();
        Process::now(task.result().await.unwrap() as i32).expect("it runs for an hour")
    };
    let programs = [leave(false).await, leave(true).await];
    assert!(programs.iter().all(|program| program.is_alive()));
    worker.consumers()[0].0.signal(Signal::SIGKILL);
    assert_gone(&programs);
    let programs = [leave(false).await, leave(true).await];
    assert_eq!(worker.drain().code(), Some(0));
    assert_gone(&programs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_end_with_the_supervisor() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().program(env!("CARGO_BIN_EXE_odd-worker")).start(&redis);
    let client = redis.client().await;
    let mut programs = Vec::new();
    for own_session in [false, true] {
        let task = client.submit_dyn::<u32>("leave_program", &own_session, &SubmitOptions::new()).await.unwrap();
        programs.push(Process::now(task.result().await.unwrap() as i32).expect("it runs for an hour"));
    }
    worker.signal(Signal::SIGKILL);
    worker.wait();
    assert_gone(&programs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_its_own_parent_left_ends_too() {
    let redis = Redis::start();
    let mut worker = WorkerOptions::new().program(env!("CARGO_BIN_EXE_poison-worker")).start(&redis);
    let client = redis.client().await;
    let folder = tempfile::tempdir().unwrap();
    let abandon = async |file: &str, how: &str| {
        let file = folder.path().join(file).to_string_lossy().into_owned();
        let task = client.submit_dyn::<()>("abandon", &(&file, how), &SubmitOptions::new()).await.unwrap();
        let ended = task.result().await;
        let pid = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        (ended.is_ok(), Process::now(pid))
    };
    // Three processes die under it, each with what it has started.
    let (succeeded, program) = abandon("crashed", "abort").await;
    assert!(!succeeded);
    assert_gone(&program.into_iter().collect::<Vec<_>>());
    let (succeeded, program) = abandon("fine", "").await;
    let program = program.filter(|program| program.is_alive()).expect("it runs for an hour");
    assert!(succeeded);
    assert_eq!(client.submit(square, 3).await.unwrap().result().await.unwrap(), 9, "its task harmed nobody");
    assert_eq!(worker.drain().code(), Some(0));
    assert_gone(&[program]);
}
