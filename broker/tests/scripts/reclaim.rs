use gristmill_broker::*;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{Certificate, ConsumerId, DeathCause, Lane, Message};

use crate::fixture::*;

/// A consumer with one settled message and three in flight, of two queues.
async fn holding() -> (Bench, Consumer, Vec<Message>) {
    let mut b = Bench::start().await;
    let mut m = b.fill("a", Lane::High, &[1, 2]).await;
    m.extend(b.fill("a", Lane::Normal, &[3]).await);
    m.extend(b.fill("b", Lane::Low, &[4]).await);
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a", "b"]), LOTS).await;
    b.settle(&mut c, &ok(&m[..1])).await;
    for name in ["a", "b"] {
        b.rang(name).await;
    }
    (b, c, m.split_off(1))
}

fn died(position: u64) -> DeathReport {
    let certificate = Certificate { item: Some(1), ..Certificate::unseen(DeathCause::Crash, "c", "SIGSEGV") };
    DeathReport::Died { position, certificate }
}

async fn reclaim(b: &mut Bench, c: &Consumer, why: &DeathReport, guess: &[&str]) -> Reclaimed {
    let guess: Vec<_> = guess.iter().map(|name| queue(name)).collect();
    b.broker.reclaim(&mut b.conn, c.id, why, &guess).await.unwrap()
}

/// The clock was ticked this long ago, and grace ended then.
async fn ticked(b: &mut Bench, ago_ms: u64, grace_ahead_ms: i64) {
    let (clock, now) = (b.keys().clock(), b.now().await);
    let grace = (now as i64 + grace_ahead_ms).to_string();
    let tick = (now - ago_ms).to_string();
    b.ask::<()>(&["HSET", &clock, "last_tick_ms", &tick, "grace_until_ms", &grace]).await;
}

#[tokio::test]
async fn what_ran_becomes_a_suspect_and_the_rest_goes_back_in_order() {
    let (mut b, c, m) = holding().await;
    let later = b.fill("a", Lane::High, &[1]).await;
    b.rang("a").await;
    let answer = reclaim(&mut b, &c, &died(2), &[]).await;
    let field = format!("{}:2", c.id);
    assert_eq!(answer, Reclaimed::Done { suspects: vec![field.clone()], returned: 6 });
    assert_eq!(b.counters("a").await, [3, 3, 0, 0, 0], "a suspect counts as running until it is judged");
    assert!(b.rang("a").await && b.rang("b").await);
    b.audit().await;
    let stored = b.broker.suspect(&mut b.conn, &field).await.unwrap().unwrap();
    let suspect = Suspect::parse(&stored).unwrap();
    assert_eq!((&suspect.message, suspect.certificate.item), (&m[1], Some(1)));
    let mut other = b.join().await;
    let taken = parsed(&b.claim(&mut other, &from(&["a", "b"]), LOTS).await);
    assert_eq!(taken, [m[0].clone(), later[0].clone(), m[2].clone()]);
    assert_eq!(reclaim(&mut b, &c, &died(2), &[]).await, Reclaimed::Gone);
    b.audit().await;
}

#[tokio::test]
async fn a_settled_position_is_nobodys_fault() {
    for position in [0, 99] {
        let (mut b, c, _) = holding().await;
        let answer = reclaim(&mut b, &c, &died(position), &["a", "b"]).await;
        assert_eq!(answer, Reclaimed::Done { suspects: vec![], returned: 9 });
        b.audit().await;
    }
}

#[tokio::test]
async fn ordered_and_idle_deaths_give_everything_back() {
    for why in [DeathReport::Ordered, DeathReport::Idle] {
        let (mut b, c, _) = holding().await;
        b.pause("b").await;
        assert_eq!(reclaim(&mut b, &c, &why, &["x"]).await, Reclaimed::Done { suspects: vec![], returned: 9 });
        assert_eq!((b.counters("a").await[0], b.counters("b").await[0]), (5, 4));
        assert!(b.rang("a").await && !b.rang("b").await);
        b.audit().await;
    }
}

#[tokio::test]
async fn an_expired_lease_is_taken_only_on_the_scripts_own_word() {
    let (mut b, c, m) = holding().await;
    let refusing = |b: Bench| async move {
        let mut b = b;
        let before = b.snapshot().await;
        assert_eq!(reclaim(&mut b, &c, &DeathReport::Expired, &["a", "b"]).await, Reclaimed::NotExpired);
        assert_eq!(b.snapshot().await, before);
        b
    };
    ticked(&mut b, 0, -1000).await;
    b = refusing(b).await; // the deadline has not passed
    b.expire(c.id).await;
    ticked(&mut b, 0, 60_000).await;
    b = refusing(b).await; // grace
    ticked(&mut b, 10_000, -10_000).await;
    b = refusing(b).await; // the last tick is old: Redis may have been away
    let clock = b.keys().clock();
    b.ask::<()>(&["DEL", &clock]).await;
    b = refusing(b).await; // nobody has ever ticked
    ticked(&mut b, 0, -1000).await;
    let Reclaimed::Done { suspects, returned } = reclaim(&mut b, &c, &DeathReport::Expired, &[]).await else {
        panic!("not taken");
    };
    assert_eq!((suspects.len(), returned), (3, 0), "nobody knows which ran: all are suspects");
    for (field, message) in suspects.iter().zip(&m) {
        let stored = b.broker.suspect(&mut b.conn, field).await.unwrap().unwrap();
        let suspect = Suspect::parse(&stored).unwrap();
        assert_eq!((&suspect.message, suspect.certificate.cause), (message, DeathCause::Loss));
    }
    assert!(!b.rang("a").await);
    b.audit().await;
}

#[tokio::test]
async fn who_renewed_in_time_is_not_taken_from() {
    let (mut b, c, _) = holding().await;
    ticked(&mut b, 0, -1000).await;
    b.expire(c.id).await;
    b.broker.renew(&mut b.conn, c.id, LEASE).await.unwrap();
    assert_eq!(reclaim(&mut b, &c, &DeathReport::Expired, &["a"]).await, Reclaimed::NotExpired);
}

#[tokio::test]
async fn a_consumer_that_never_was_is_gone() {
    let mut b = Bench::start().await;
    let nobody = Consumer { id: ConsumerId::new(), op: 0 };
    assert_eq!(reclaim(&mut b, &nobody, &died(0), &["a"]).await, Reclaimed::Gone);
    let fresh = b.join().await;
    assert_eq!(reclaim(&mut b, &fresh, &died(0), &[]).await, Reclaimed::Done { suspects: vec![], returned: 0 });
    b.audit().await;
}

#[tokio::test]
async fn what_a_foreign_hand_put_into_the_list_is_buried_and_the_rest_comes_back() {
    for (why, suspects, returned) in
        [(DeathReport::Ordered, 0, 9), (died(1), 0, 9), (died(3), 1, 6), (DeathReport::Expired, 3, 0)]
    {
        let (mut b, c, _) = holding().await;
        let inflight = b.keys().inflight(c.id);
        b.ask::<()>(&["LPUSH", &inflight, "rubbish"]).await;
        b.ask::<()>(&["RPUSH", &inflight, "GM, and more rubbish"]).await;
        ticked(&mut b, 0, -1000).await;
        b.expire(c.id).await;
        let Reclaimed::Done { suspects: fields, returned: tasks } = reclaim(&mut b, &c, &why, &["b"]).await else {
            panic!("not taken");
        };
        assert_eq!((fields.len(), tasks), (suspects, returned));
        assert_eq!((b.counters("a").await[4], b.counters("b").await[4]), (0, 2));
        assert_eq!(b.ask::<u64>(&["EXISTS", &inflight]).await, 0);
        b.audit().await;
    }
}

#[tokio::test]
async fn what_is_unreadable_stays_where_it_is_without_a_queue_to_bury_it_in() {
    let mut b = Bench::start().await;
    let c = b.join().await;
    let inflight = b.keys().inflight(c.id);
    b.ask::<()>(&["RPUSH", &inflight, "rubbish"]).await;
    let before = b.snapshot().await;
    assert!(refused(b.broker.reclaim(&mut b.conn, c.id, &DeathReport::Ordered, &[]).await).contains("unreadable"));
    assert_eq!(b.snapshot().await, before);
}

#[tokio::test]
async fn a_list_longer_than_any_of_ours_is_taken_whole() {
    let mut b = Bench::start().await;
    let mut c = b.join().await;
    b.fill("a", Lane::Normal, &[1]).await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    let (inflight, hash) = (b.keys().inflight(c.id), b.keys().queue(&queue("a")));
    let grow = "local m = redis.call('LINDEX', KEYS[1], 0)
        for _ = 1, 4999 do redis.call('RPUSH', KEYS[1], m) end
        redis.call('HSET', KEYS[2], 'running_tasks', '5000')";
    b.ask::<()>(&["EVAL", grow, "2", &inflight, &hash]).await;
    ticked(&mut b, 0, -1000).await;
    b.expire(c.id).await;
    let Reclaimed::Done { suspects, .. } = reclaim(&mut b, &c, &DeathReport::Expired, &["a"]).await else {
        panic!("not taken");
    };
    assert_eq!(suspects.len(), 5000);
}
