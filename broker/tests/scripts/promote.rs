use gristmill_broker::{ClaimFlag, Destination, Ending, Enqueue};
use gristmill_shared::{BatchId, Lane};

use crate::fixture::*;

/// Scheduled messages of one batch in a lane, all due in a minute.
async fn schedule(b: &mut Bench, lane: Lane, count: u64) -> Vec<gristmill_shared::Message> {
    let batch = BatchId::new();
    let messages: Vec<_> = (0..count).map(|i| message(batch, "a", lane, i, 1)).collect();
    let encoded: Vec<_> = messages.iter().map(|m| m.encode().unwrap()).collect();
    let due_at_ms = Some(b.now().await + 60_000);
    b.try_enqueue(&Enqueue { due_at_ms, ..first_call(&messages[0], &encoded) }).await.unwrap();
    messages
}

/// Lets everything scheduled be due, in its order.
async fn let_be_due(b: &mut Bench) {
    let scheduled = b.keys().scheduled(&queue("a"));
    let members: Vec<Vec<u8>> = b.ask(&["ZRANGE", &scheduled, "0", "-1"]).await;
    for (i, member) in members.iter().enumerate() {
        let _: () = redis::cmd("ZADD").arg(&scheduled).arg(i + 1).arg(member).query_async(&mut b.conn).await.unwrap();
    }
}

#[tokio::test]
async fn only_what_is_due_moves_to_its_lane() {
    let mut b = Bench::start().await;
    let high = schedule(&mut b, Lane::High, 1).await;
    let before = b.snapshot().await;
    assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), 0);
    assert_eq!(b.snapshot().await, before);
    assert!(!b.rang("a").await);
    let_be_due(&mut b).await;
    let low = schedule(&mut b, Lane::Low, 2).await;
    assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), 1);
    assert_eq!(b.counters("a").await, [1, 0, 2, 0, 0]);
    assert!(b.rang("a").await);
    b.audit().await;
    b.pause("a").await;
    let_be_due(&mut b).await;
    assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), 2);
    assert!(!b.rang("a").await);
    let paused = b.keys().paused();
    b.ask::<()>(&["DEL", &paused]).await;
    let mut c = b.join().await;
    let taken = parsed(&b.claim(&mut c, &from(&["a"]), LOTS).await);
    assert_eq!(taken.len(), 3);
    assert_eq!(taken[0], high[0]);
    assert!(low.iter().all(|m| taken[1..].contains(m)));
    b.audit().await;
}

#[tokio::test]
async fn a_call_moves_at_most_a_thousand() {
    let mut b = Bench::start().await;
    schedule(&mut b, Lane::Normal, 600).await;
    schedule(&mut b, Lane::Low, 600).await;
    let_be_due(&mut b).await;
    for (moved, counters) in [(1000, [1000, 0, 200, 0, 0]), (200, [1200, 0, 0, 0, 0]), (0, [1200, 0, 0, 0, 0])] {
        assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), moved);
        assert_eq!(b.counters("a").await, counters);
        b.audit().await;
    }
}

#[tokio::test]
async fn rubbish_reaches_the_dead_letters_by_way_of_a_claim() {
    let mut b = Bench::start().await;
    let scheduled = b.keys().scheduled(&queue("a"));
    b.ask::<()>(&["ZADD", &scheduled, "1", "rubbish"]).await;
    assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), 1);
    let mut c = b.join().await;
    assert!(b.claim(&mut c, &from(&["a"]), LOTS).await.messages.is_empty());
    assert_eq!(b.counters("a").await, [0, 0, 0, 0, 1]);
    b.audit().await;
}

#[tokio::test]
async fn a_call_moves_at_most_eight_mebibytes_but_always_one_message() {
    let mut b = Bench::start().await;
    let scheduled = b.keys().scheduled(&queue("a"));
    let mut pipe = redis::pipe();
    for i in 0..150u64 {
        let rubbish = [&i.to_be_bytes()[..], &vec![b'x'; 100_000]].concat();
        pipe.zadd(&scheduled, rubbish, i + 1).ignore();
    }
    pipe.zadd(&scheduled, vec![b'y'; 9 << 20], 1_000).ignore();
    let _: () = pipe.query_async(&mut b.conn).await.unwrap();
    for moved in [83, 67, 1, 0] {
        assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), moved);
    }
    let lane = b.keys().ready(&queue("a"), Lane::Normal);
    let order: Vec<Vec<u8>> = b.ask(&["LRANGE", &lane, "0", "149"]).await;
    assert!(order.iter().enumerate().all(|(i, m)| m.starts_with(&(i as u64).to_be_bytes())), "by due time");
}

#[tokio::test]
async fn what_is_cancelled_need_not_wait_until_it_is_due() {
    let mut b = Bench::start().await;
    let (whole, part) = (schedule(&mut b, Lane::Normal, 200).await, schedule(&mut b, Lane::Low, 3).await);
    let (whole, part) = (whole[0].header.batch, part[0].header.batch);
    assert_eq!(b.broker.hasten(&mut b.conn, whole).await.unwrap(), 0, "nobody has cancelled anything");
    b.broker.cancel(&mut b.conn, whole, None).await.unwrap();
    b.broker.cancel(&mut b.conn, part, Some(&[1])).await.unwrap();
    for hastened in [200, 0] {
        assert_eq!(b.broker.hasten(&mut b.conn, whole).await.unwrap(), hastened);
    }
    assert_eq!(b.broker.hasten(&mut b.conn, part).await.unwrap(), 1, "the others still run when they are due");
    b.audit().await;
    assert_eq!(b.broker.promote(&mut b.conn, &queue("a")).await.unwrap(), 201);
    let mut c = b.join().await;
    let claimed = b.claim(&mut c, &from(&["a"]), LOTS).await;
    assert!(!claimed.messages.is_empty());
    assert!(claimed.messages.iter().all(|message| message.flag != ClaimFlag::None), "none of them runs");
    b.audit().await;
}

#[tokio::test]
async fn a_message_of_which_one_task_may_run_waits() {
    let mut b = Bench::start().await;
    let chunk = message(BatchId::new(), "a", Lane::Normal, 0, 3);
    let encoded = [chunk.encode().unwrap()];
    let due_at_ms = Some(b.now().await + 60_000);
    b.try_enqueue(&Enqueue { due_at_ms, ..first_call(&chunk, &encoded) }).await.unwrap();
    let batch = chunk.header.batch;
    for (index, hastened) in [(0, 0), (2, 0), (1, 1)] {
        b.broker.cancel(&mut b.conn, batch, Some(&[index])).await.unwrap();
        assert_eq!(b.broker.hasten(&mut b.conn, batch).await.unwrap(), hastened);
    }
}

#[tokio::test]
async fn who_looks_for_single_tasks_stops_when_all_were_met() {
    let mut b = Bench::start().await;
    let batch = schedule(&mut b, Lane::Normal, 1_000).await[0].header.batch;
    let steps = async |b: &mut Bench| {
        b.ask::<()>(&["CONFIG", "RESETSTAT"]).await;
        let hastened = b.broker.hasten(&mut b.conn, batch).await.unwrap();
        let stats: String = b.ask(&["INFO", "commandstats"]).await;
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_zscan:calls=")).unwrap();
        (hastened, line.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    // No step copies much; the task whose message is scanned first is known by what the first step meets.
    let scheduled = b.keys().scheduled(&queue("a"));
    let (_, page): (String, Vec<Vec<u8>>) = b.ask(&["ZSCAN", &scheduled, "0", "COUNT", "1"]).await;
    let first = gristmill_shared::Message::parse(&page[0]).unwrap().header.first;
    b.broker.cancel(&mut b.conn, batch, Some(&[first])).await.unwrap();
    for hastened in [1, 0] {
        assert_eq!(steps(&mut b).await, (hastened, 1), "also if it is due already");
    }
    b.broker.cancel(&mut b.conn, batch, None).await.unwrap();
    let (hastened, steps) = steps(&mut b).await;
    assert_eq!(hastened, 999);
    assert!(steps > 1_000 / 128, "{steps}");
    b.audit().await;
}

#[tokio::test]
async fn what_is_cancelled_is_not_scheduled_anew() {
    for (wish, counters) in [("none", [0, 0, 1, 0, 0]), ("one", [0, 0, 1, 0, 0]), ("rest", [1, 0, 0, 0, 0])] {
        let mut b = Bench::start().await;
        let m = b.fill("a", Lane::Normal, &[1, 1]).await;
        let batch = m[0].header.batch;
        let mut c = b.join().await;
        b.claim(&mut c, &from(&["a"]), LOTS).await;
        b.rang("a").await;
        match wish {
            "one" => _ = b.broker.cancel(&mut b.conn, batch, Some(&[0])).await.unwrap(),
            "rest" => _ = b.broker.cancel_unstarted(&mut b.conn, batch).await.unwrap(),
            _ => {}
        }
        // It fails, and would be tried again in a minute.
        let to = Destination::Scheduled { due_at_ms: b.now().await + 60_000 };
        let ending = Ending { replacements: vec![back(&m[0], to)], ..Ending::default() };
        b.settle(&mut c, &settlement(&m[..1], ending)).await;
        b.settle(&mut c, &ok(&m[1..])).await;
        assert_eq!(b.counters("a").await, counters, "{wish}");
        b.audit().await;
        if wish == "rest" {
            assert!(b.rang("a").await);
            assert_eq!(flags(&b.claim(&mut c, &from(&["a"]), LOTS).await), [ClaimFlag::Cancelled]);
        }
    }
}
