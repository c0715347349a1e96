use gristmill_broker::*;
use gristmill_shared::Lane;
use gristmill_shared::dead_letter::DeadLetter;

use crate::fixture::*;

const ALL: LetterRange = LetterRange { from_ms: 0, until_ms: u64::MAX, latest_first: false };

/// Buries so many tasks; returns id and time of each letter, oldest first.
async fn letters(b: &mut Bench, count: usize) -> Vec<(String, u64)> {
    b.fill("a", Lane::Normal, &vec![1; count]).await;
    let mut c = b.join().await;
    for message in parsed(&b.claim(&mut c, &from(&["a"]), LOTS).await) {
        b.settle(&mut c, &failed(&message)).await;
    }
    let found = b.broker.letter_ids(&mut b.conn, &queue("a"), &ALL, 100).await.unwrap();
    assert_eq!(found.len(), count);
    found
}

#[tokio::test]
async fn letters_are_dropped_as_they_were_seen() {
    let mut b = Bench::start().await;
    let mut seen = letters(&mut b, 4).await;
    let kept = seen.pop().unwrap();
    // Buried again since its reader looked.
    seen[0].1 -= 1;
    assert_eq!(b.broker.discard(&mut b.conn, &queue("a"), &seen).await.unwrap(), 2);
    assert_eq!(b.counters("a").await, [0, 0, 0, 0, 2]);
    b.audit().await;
    let before = b.snapshot().await;
    assert_eq!(b.broker.discard(&mut b.conn, &queue("a"), &seen).await.unwrap(), 0, "a call that came twice");
    assert_eq!(b.broker.discard(&mut b.conn, &queue("a"), &[]).await.unwrap(), 0);
    assert_eq!(b.snapshot().await, before);
    let all = vec![(seen[0].0.clone(), seen[0].1 + 1), kept];
    assert_eq!(b.broker.discard(&mut b.conn, &queue("a"), &all).await.unwrap(), 2);
    let (dead, records) = (b.keys().dead(&queue("a")), b.keys().dead_records(&queue("a")));
    assert_eq!(b.ask::<u64>(&["EXISTS", &dead, &records]).await, 0);
    b.audit().await;
}

#[tokio::test]
async fn letters_are_listed_by_time_and_read_in_bounded_pieces() {
    let mut b = Bench::start().await;
    let ids = letters(&mut b, 5).await;
    for (n, (id, _)) in ids.iter().enumerate() {
        let dead = b.keys().dead(&queue("a"));
        b.ask::<()>(&["ZADD", &dead, &(n as u64 * 1_000).to_string(), id]).await;
    }
    let mut found = async |from_ms, until_ms, latest_first, limit| {
        let range = LetterRange { from_ms, until_ms, latest_first };
        let found = b.broker.letter_ids(&mut b.conn, &queue("a"), &range, limit).await.unwrap();
        found.into_iter().map(|(_, at_ms)| at_ms).collect::<Vec<_>>()
    };
    assert_eq!(found(1_000, 3_000, false, 10).await, [1_000, 2_000, 3_000]);
    assert_eq!(found(0, 3_999, true, 2).await, [3_000, 2_000]);
    let ids: Vec<String> = ids.into_iter().map(|(id, _)| id).chain(["gone".to_owned()]).collect();
    let read = b.broker.letters(&mut b.conn, &queue("a"), &ids, 1 << 20).await.unwrap();
    assert_eq!(read.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, true, true, false]);
    let size = read[0].as_ref().unwrap().len();
    for (bytes, expected) in [(1, 1), (2 * size, 2), (3 * size - 1, 2)] {
        assert_eq!(b.broker.letters(&mut b.conn, &queue("a"), &ids, bytes).await.unwrap().len(), expected);
    }
    let queues = [queue("b"), queue("a")];
    let found = b.broker.letter_in(&mut b.conn, &queues, &ids[0]).await.unwrap();
    assert!(found[0].is_none() && DeadLetter::parse(&found[1].as_ref().unwrap().1).is_ok());
}
