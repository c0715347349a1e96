//! Kernels that nobody knows, or not yet.

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};

use crate::rig::{Rig, assert_says, batch_of, error, quiet, rows};

#[test]
fn an_unknown_kernel_is_refused_with_the_nearest_names() {
    let mut rig = Rig::start();
    let line = error(&rig.cli.run(&["submit", "sqare", "7"]), 5);
    assert_says(&line, &["sqare", "did you mean square?", "--force"]);
    let line = error(&rig.cli.run_with(&["map", "sum_sqr"], "1\n"), 5);
    assert_says(&line, &["sum_sqr", "sum_sqrt"]);
    let line = error(&rig.cli.run(&["submit", "zzz", "7"]), 5);
    assert_says(&line, &["zzz", "gristmill kernels"]);
    assert_eq!(rig.redis.matching("{gm}:batch:*"), [""; 0]);
}

#[test]
fn before_the_first_worker_a_task_waits_with_a_warning() {
    let redis = Redis::start();
    let cli = Cli::new(&redis);
    let output = cli.run(&["submit", "square", "9"]);
    assert_says(&output.stderr, &["warning: no worker has offered a kernel yet", "square"]);
    assert_eq!(output.stderr.lines().count(), 1);
    let task = output.ok();
    let _worker = WorkerOptions::new().start(&redis);
    assert_eq!(quiet(cli.run(&["results", batch_of(&task), "--wait"])), "81\n");
}

#[test]
fn a_task_whose_kernel_nobody_knows_is_parked_until_somebody_does() {
    let mut rig = Rig::start();
    let output = rig.cli.run(&["submit", "spin", "1", "--force"]);
    assert_says(&output.stderr, &["warning: no worker offers the kernel spin"]);
    let task = output.ok();
    eventually("the task is parked", || (rig.redis.command::<u64>("LLEN {gm}:parked:default:spin") == 1).then_some(()));
    let queue = &rows(&rig.cli.run(&["queues", "--json"]))[0];
    assert_eq!((&queue["parked_tasks"], &queue["ready_tasks"]), (&1.into(), &0.into()));
    // The queue goes on meanwhile.
    assert_eq!(quiet(rig.cli.run(&["submit", "square", "3", "--wait"])), "9\n");
    assert_eq!(rows(&rig.cli.run(&["status", task.trim(), "--json"]))[0]["state"], "waiting");
    let _knowing = WorkerOptions::new().test_kernels().start(&rig.redis);
    assert_eq!(quiet(rig.cli.run(&["results", batch_of(&task), "--wait"])), "null\n");
    let queue = &rows(&rig.cli.run(&["queues", "--json"]))[0];
    assert_eq!(queue["parked_tasks"], 0);
}
