//! A Redis in which somebody else has put keys, or which is none.

use gristmill_integration_tests::{Cli, Redis, eventually};

use crate::bare_worker::BareWorker;
use crate::fake_server::FakeServer;
use crate::rig::{Rig, assert_for_people, assert_says, batch_of, error, quiet};

#[test]
fn a_key_of_the_wrong_type_is_named() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    redis.command::<()>("SET {gm}:ready:default x");
    let line = error(&cli.run(&["submit", "square", "7"]), 3);
    assert_says(&line, &["type", "namespace"]);
    let line = error(&cli.run_with(&["map", "square"], "1\n2\n"), 3);
    assert_says(&line, &["type", "namespace"]);
    redis.command::<()>("SADD {gm}:queues default");
    let line = error(&cli.run(&["queues"]), 3);
    assert_says(&line, &["type", "namespace"]);
    redis.command::<()>("DEL {gm}:ready:default");
    cli.run(&["submit", "square", "7"]).ok();
    assert_eq!(redis.depth(), 1);
}

#[test]
fn whichever_key_it_is() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    let of_a_queue = ["ready:default:high", "queue:default", "doorbell:default", "scheduled:default", "dead:default"];
    let submit = &["submit", "square", "7"][..];
    let of_all = ["queues", "paused", "kernels"].map(|key| (key, submit));
    // The list of batches is of no concern to a batch of one.
    let of_several = [("batches", &["map", "square", "--grid", "n=1..2"][..])];
    for (key, args) in of_a_queue.map(|key| (key, submit)).into_iter().chain(of_all).chain(of_several) {
        redis.command::<()>(&format!("SET {{gm}}:{key} x"));
        let line = error(&cli.run(args), 3);
        assert_says(&line, &["has a type that Gristmill did not give it", "delete the key"]);
        redis.command::<()>(&format!("DEL {{gm}}:{key}"));
    }
    // Nothing of a refused call has happened.
    assert_eq!(redis.matching("*"), [""; 0]);
}

#[test]
fn a_worker_outlives_a_key_of_the_wrong_type() {
    let mut rig = Rig::start();
    let before = rig.worker.consumers();
    // It runs while the key changes: its outcome must wait, and not be lost.
    let task = rig.cli.run(&["submit", "sleep", "0.5"]).ok();
    rig.redis.wait_busy();
    rig.redis.command::<()>("SET {gm}:ready:default x");
    eventually("the worker complains", || {
        let complaints = rig.worker.log.all(|line| line.text("level") == "ERROR");
        complaints.iter().any(|line| line.text("message").contains("type")).then_some(())
    });
    rig.redis.command::<()>("DEL {gm}:ready:default");
    assert_eq!(quiet(rig.cli.run(&["results", batch_of(&task), "--wait"])), "null\n");
    assert_eq!(quiet(rig.cli.run(&["submit", "square", "7", "--wait"])), "49\n");
    assert_eq!(rig.worker.consumers(), before);
    assert_for_people(&rig.worker.log.tail());
}

#[test]
fn a_redis_that_is_too_old_is_refused() {
    let server = FakeServer::start("5.0.0");
    let cli = Cli::at(&server.url());
    for args in [&["submit", "square", "7"][..], &["kernels"], &["queues", "--json"]] {
        assert_says(&error(&cli.run(args), 3), &["5.0.0", "6.2"]);
    }
    let (code, said) = BareWorker::start(&server.url(), &[]).wait();
    assert_eq!(code, 3, "{said:?}");
    let told: Vec<_> = said.iter().filter(|line| line.starts_with("gristmill-worker: ")).collect();
    assert_eq!(told.len(), 1, "{said:?}");
    assert_says(told[0], &["5.0.0", "6.2"]);
    assert_for_people(&said.join("\n"));
}
