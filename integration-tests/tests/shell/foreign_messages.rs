//! Elements of a ready list that no client of ours put there.

use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use gristmill_shared::QueueName;
use gristmill_shared::dead_letter::DeadLetter;
use redis::Commands;

use crate::rig::{assert_for_people, assert_says, batch_of, error, quiet, rows};

const READY: &str = "{gm}:ready:default";

/// Submits a task, and takes its message out of the list.
fn message_of(cli: &Cli, redis: &Redis, args: &str) -> (String, Vec<u8>) {
    let task = cli.run(&["submit", "square", args]).ok();
    let message = redis.connect().rpop(READY, None).unwrap();
    (task.trim().to_owned(), message)
}

fn push(redis: &Redis, message: &[u8]) {
    redis.connect().rpush::<_, _, ()>(READY, message).unwrap();
}

#[test]
fn the_queue_goes_on_after_what_nobody_can_read() {
    let mut redis = Redis::start();
    let cli = Cli::new(&redis);
    let (cut, message) = message_of(&cli, &redis, "5");
    push(&redis, b"rubbish");
    push(&redis, b"");
    push(&redis, &message[..20]);
    push(&redis, &message[..message.len() - 1]);
    push(&redis, &[0xff; 200]);
    let (future, mut message) = message_of(&cli, &redis, "6");
    message[2] = 9;
    push(&redis, &message);
    let last = cli.run(&["submit", "square", "7"]).ok();

    let worker = WorkerOptions::new().start(&redis);
    assert_eq!(quiet(cli.run(&["results", batch_of(&last), "--wait"])), "49\n");
    let line = error(&cli.run(&["results", batch_of(&cut), "--wait"]), 1);
    assert_says(&line, &["1 of 1 task "]);
    let line = cli.run(&["status", &cut, "--json"]).ok();
    assert_says(&line, &["cannot be read"]);
    assert_eq!(redis.command::<u64>("LLEN {gm}:parked:default:v+9"), 1);
    assert_eq!(rows(&cli.run(&["status", &future, "--json"]))[0]["state"], "waiting");

    let queue = QueueName::new("default").unwrap();
    let mut reasons: Vec<String> = eventually("five dead letters", || {
        let letters: Vec<Vec<u8>> = redis.connect().hvals(redis.keys().dead_records(&queue)).unwrap();
        let reasons = letters.iter().map(|bytes| DeadLetter::parse(bytes).unwrap().epitaph.reason);
        (letters.len() == 5).then(|| reasons.collect())
    });
    reasons.sort();
    assert_eq!(reasons, ["failed", "unreadable", "unreadable", "unreadable", "unreadable"]);
    let queue = &rows(&cli.run(&["queues", "--json"]))[0];
    let counted = ["ready_tasks", "running_tasks", "parked_tasks", "dead_tasks"].map(|name| queue[name].as_u64());
    assert_eq!(counted, [Some(0), Some(0), Some(1), Some(5)]);
    assert_eq!(worker.consumers().len(), 1);
    assert_for_people(&worker.log.tail());
}
