//! What the agent does when something is not as it should be.

use std::time::{Duration, Instant};

use gristmill_broker::{Budget, Call, Claim, Sources};
use gristmill_shared::ConsumerId;
use nix::sys::signal::Signal;

use crate::rig::{Rig, Submit, kill};

#[tokio::test]
async fn one_consumer_that_cannot_be_reclaimed_does_not_keep_the_others_waiting() {
    let mut rig = Rig::without_worker().await;
    let batch = rig.submit(&Submit::to("square"), &[1, 2, 3]).await;
    let mut dead: Vec<_> = (0..2).map(|_| ConsumerId::new()).collect();
    for (place, &consumer) in dead.iter().enumerate() {
        let call = Call { consumer, op: 1, lease: Duration::from_secs(10) };
        let sources = Sources { queues: vec![rig.queue.clone()], parked: Vec::new() };
        let budget = Budget { messages: 1, tasks: 1, bytes: 1 << 20 };
        assert!(rig.broker.join(&mut rig.conn, consumer, "gone", call.lease).await.unwrap());
        assert!(matches!(rig.broker.claim(&mut rig.conn, &call, &sources, budget).await.unwrap(), Claim::Done(_)));
        // The first to be found is the one that cannot be taken from.
        let (leases, deadline) = (rig.broker.keys().leases(), place + 1);
        let _: u64 = redis::cmd("ZADD")
            .arg(leases)
            .arg(deadline)
            .arg(consumer.to_string())
            .query_async(&mut rig.conn)
            .await
            .unwrap();
    }
    let stuck = rig.broker.keys().inflight(dead.remove(0));
    let aside = format!("{stuck}:aside");
    let _: () = redis::cmd("RENAME").arg(&stuck).arg(&aside).query_async(&mut rig.conn).await.unwrap();
    let _: () = redis::cmd("SET").arg(&stuck).arg("of another type").query_async(&mut rig.conn).await.unwrap();
    rig.start_worker(1, &["--lease", "5s"]);
    rig.until(batch, |record| record.ended() == 2).await;
    let _: () = redis::cmd("RENAME").arg(&aside).arg(&stuck).query_async(&mut rig.conn).await.unwrap();
    rig.finished(batch).await;
    rig.nothing_left().await;
}

/// Connections that Redis has ever accepted.
async fn connections(rig: &mut Rig) -> u64 {
    let text: String = redis::cmd("INFO").arg("stats").query_async(&mut rig.conn).await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().parse().unwrap()
}

async fn password(rig: &mut Rig, password: &str) {
    let set = redis::cmd("CONFIG").arg(&["SET", "requirepass", password]).query_async(&mut rig.conn).await;
    let _: String = set.unwrap();
}

#[tokio::test]
async fn a_password_that_is_being_changed_is_waited_for_without_hurry() {
    let mut rig = Rig::start(1).await;
    let batch = rig.submit(&Submit::to("square"), &[1, 2]).await;
    rig.finished(batch).await;
    // Who is connected stays so; the next agent is refused.
    password(&mut rig, "another").await;
    let consumers = rig.consumers();
    let agent: Vec<_> = rig.children().into_iter().filter(|pid| !consumers.contains(pid)).collect();
    assert_eq!(agent.len(), 1);
    kill(agent[0], Signal::SIGKILL);
    let (before, begun) = (connections(&mut rig).await, Instant::now());
    while connections(&mut rig).await < before + 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody tries again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = connections(&mut rig).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tries = connections(&mut rig).await - before;
    // Without a pause there would be thousands.
    assert!(tries <= 100, "{tries} connections in 2 s");
    password(&mut rig, "").await;
    let batch = rig.submit(&Submit::to("square"), &[1, 2]).await;
    rig.finished(batch).await;
    assert!(rig.drain().success());
}
