use gristmill_broker::*;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{Certificate, DeathCause, KernelOptions, Lane, OutcomeKind, TaskOptions};

use crate::fixture::*;

/// A suspect of `count` tasks whose item 1 crashed; its field and its parsed form.
async fn suspect(count: u32, crashes: u8) -> (Bench, String, Suspect) {
    let mut b = Bench::start().await;
    let mut m = message(gristmill_shared::BatchId::new(), "a", Lane::Normal, 0, count);
    m.header.crashes = crashes;
    b.put(std::slice::from_ref(&m), true).await;
    let mut c = b.join().await;
    b.claim(&mut c, &from(&["a"]), LOTS).await;
    let certificate = Certificate { item: Some(1), ..Certificate::unseen(DeathCause::Crash, "c", "SIGSEGV") };
    let why = DeathReport::Died { position: 0, certificate };
    let Reclaimed::Done { suspects, .. } = b.broker.reclaim(&mut b.conn, c.id, &why, &[]).await.unwrap() else {
        panic!("not reclaimed");
    };
    let stored = b.broker.suspect(&mut b.conn, &suspects[0]).await.unwrap().unwrap();
    b.rang("a").await;
    (b, suspects[0].clone(), Suspect::parse(&stored).unwrap())
}

fn verdict_on(suspect: &Suspect) -> Ending {
    let options = EffectiveOptions::of(KernelOptions::default(), &TaskOptions::default());
    verdict(suspect, &suspect.message.read_body().unwrap(), &options, 0.5, 1_000_000).unwrap()
}

async fn judge(b: &mut Bench, field: &str, suspect: &Suspect, ending: &Ending) -> Result<bool, BrokerError> {
    b.broker.judge(&mut b.conn, field, suspect, ending).await
}

#[tokio::test]
async fn a_suspect_is_judged_exactly_once() {
    let (mut b, field, suspect) = suspect(3, 0).await;
    let ending = verdict_on(&suspect);
    assert!(judge(&mut b, &field, &suspect, &ending).await.unwrap());
    assert_eq!(b.counters("a").await, [3, 0, 0, 0, 0]);
    assert!(b.rang("a").await);
    b.audit().await;
    let before = b.snapshot().await;
    assert!(!judge(&mut b, &field, &suspect, &ending).await.unwrap());
    assert!(!judge(&mut b, "nobody:1", &suspect, &ending).await.unwrap());
    assert_eq!(b.snapshot().await, before);
    let mut c = b.join().await;
    let taken = parsed(&b.claim(&mut c, &from(&["a"]), LOTS).await);
    let shape: Vec<_> = taken.iter().map(|m| (m.header.first, m.header.count, m.header.crashes)).collect();
    assert_eq!(shape, [(0, 1, 0), (1, 1, 1), (2, 1, 0)]);
}

#[tokio::test]
async fn the_last_crash_buries_one_task_and_finishes_the_batch() {
    let (mut b, field, suspect) = suspect(2, 2).await;
    assert!(judge(&mut b, &field, &suspect, &verdict_on(&suspect)).await.unwrap());
    assert_eq!(b.counters("a").await, [1, 0, 0, 0, 1]);
    b.audit().await;
    let mut c = b.join().await;
    let taken = parsed(&b.claim(&mut c, &from(&["a"]), LOTS).await);
    b.settle(&mut c, &ok(&taken)).await;
    let record = b.record(suspect.message.header.batch).await.unwrap();
    assert_eq!((record.state, record.count(OutcomeKind::Crashed)), (BatchState::Finished, 1));
    b.audit().await;
}

#[tokio::test]
async fn a_verdict_that_does_not_cover_the_suspect_is_refused() {
    let (mut b, field, suspect) = suspect(3, 0).await;
    let before = b.snapshot().await;
    let mut short = verdict_on(&suspect);
    short.replacements.pop();
    let mut doubled = verdict_on(&suspect);
    doubled.replacements[2] = doubled.replacements[0].clone();
    for ending in [short, doubled, Ending::default()] {
        refused(judge(&mut b, &field, &suspect, &ending).await);
        assert_eq!(b.snapshot().await, before);
    }
}

#[tokio::test]
async fn what_nobody_can_read_goes_back_whole_and_a_gone_batch_stays_gone() {
    let (mut b, field, suspect) = suspect(3, 2).await;
    assert!(judge(&mut b, &field, &suspect, &verdict_unread(&suspect)).await.unwrap());
    assert_eq!(b.counters("a").await, [3, 0, 0, 0, 0]);
    b.audit().await;

    let (mut b, field, suspect) = self::suspect(2, 2).await;
    let key = b.keys().batch(suspect.message.header.batch);
    b.ask::<()>(&["DEL", &key]).await;
    b.pause("a").await;
    assert!(judge(&mut b, &field, &suspect, &verdict_on(&suspect)).await.unwrap());
    assert!(b.record(suspect.message.header.batch).await.is_none() && !b.rang("a").await);
    assert_eq!(b.counters("a").await, [1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn what_is_too_short_for_a_suspect_is_left_alone() {
    let (mut b, field, suspect) = suspect(3, 0).await;
    let key = b.keys().suspects();
    for rubbish in ["", "x", "12345678901"] {
        b.ask::<()>(&["HSET", &key, &field, rubbish]).await;
        let before = b.snapshot().await;
        assert!(!judge(&mut b, &field, &suspect, &verdict_on(&suspect)).await.unwrap());
        assert_eq!(b.snapshot().await, before);
    }
    // It begins as the suspect does, and ends before its certificate does.
    let cut = [&suspect.at_ms.to_be_bytes()[..], &[0, 1, 0, 0]].concat();
    let _: () = redis::cmd("HSET").arg(&key).arg(&field).arg(cut).query_async(&mut b.conn).await.unwrap();
    refused(judge(&mut b, &field, &suspect, &verdict_on(&suspect)).await);
}
