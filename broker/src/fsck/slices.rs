//! Reading what is too large for one transaction, in slices that keep Redis for no more than a moment.

use std::collections::BTreeSet;

use gristmill_shared::BatchId;
use gristmill_shared::message::Header;
use redis::Value;
use redis::aio::ConnectionLike;

use super::places::{Place, Places, Shape};
use super::row::Row;
use super::snapshot::{Snapshot, ask_registers};
use crate::Broker;
use crate::error::BrokerError;

/// Tries until the system moved each time.
const TRIES: usize = 3;
/// Messages of the first slice of a list; the next are measured by it.
const FIRST_SLICE: usize = 8;
const SLICE_MAX: usize = 1_000;
const SLICE_BYTES: usize = 1 << 20;
/// Rows in one pipeline.
const PAGE: usize = 200;
/// Keys in one WATCH.
const WATCHED: usize = 50;

/// The command that tells how much a key holds.
pub(super) fn length(shape: Shape) -> &'static str {
    match shape {
        Shape::List => "LLEN",
        Shape::Zset => "ZCARD",
        Shape::Suspects => "HLEN",
    }
}

/// None: it moved each time.
pub(super) async fn watched<C: ConnectionLike>(
    broker: &Broker,
    conn: &mut C,
    places: &Places,
    ids: &[BatchId],
) -> Result<Option<Snapshot>, BrokerError> {
    for _ in 0..TRIES {
        watch(broker, conn, places).await?;
        let read = read(broker, conn, places, ids).await;
        let Ok(Some(snapshot)) = read else {
            let _: () = redis::cmd("UNWATCH").query_async(conn).await?;
            return read;
        };
        // What changed any watched key makes the transaction fail.
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("TIME");
        let undisturbed: Option<Vec<Value>> = pipe.query_async(conn).await?;
        if undisturbed.is_some() {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

/// Leases are not watched: they are renewed all the time, and a consumer that takes something changes a lane. Nor are
/// batches: whatever gives one of them a task or an outcome changes a place of messages. And Redis compares each key
/// that is to be watched with all that are.
async fn watch<C: ConnectionLike>(broker: &Broker, conn: &mut C, places: &Places) -> Result<(), BrokerError> {
    let keys = broker.keys();
    let mut all: BTreeSet<String> = places.all.iter().map(|place| place.key.clone()).collect();
    all.extend(places.queues.iter().map(|queue| keys.queue(queue)));
    all.insert(keys.queues());
    let all: Vec<_> = all.into_iter().collect();
    for page in all.chunks(WATCHED) {
        let _: () = redis::cmd("WATCH").arg(page).query_async(conn).await?;
    }
    Ok(())
}

async fn read<C: ConnectionLike>(
    broker: &Broker,
    conn: &mut C,
    places: &Places,
    ids: &[BatchId],
) -> Result<Option<Snapshot>, BrokerError> {
    let mut snapshot = Snapshot::default();
    let mut pipe = redis::pipe();
    ask_registers(&mut pipe, broker, places);
    let answers: Vec<Value> = pipe.query_async(conn).await?;
    if !snapshot.read_registers(&mut answers.into_iter(), places)? {
        return Ok(None);
    }
    for (at, place) in places.all.iter().enumerate() {
        match place.shape {
            Shape::Suspects => read_suspects(conn, place, &mut snapshot, places, at).await?,
            _ => read_messages(conn, place, &mut snapshot, places, at).await?,
        }
    }
    for page in ids.chunks(PAGE) {
        let mut pipe = redis::pipe();
        page.iter().for_each(|id| Row::ask(&mut pipe, broker.keys(), *id));
        let answers: Vec<Value> = pipe.query_async(conn).await?;
        let mut answers = answers.into_iter();
        for id in page {
            snapshot.rows.insert(*id, Row::read(&mut answers)?);
        }
    }
    Ok(Some(snapshot))
}

async fn read_messages<C: ConnectionLike>(
    conn: &mut C,
    place: &Place,
    snapshot: &mut Snapshot,
    places: &Places,
    at: usize,
) -> Result<(), BrokerError> {
    let command = if place.shape == Shape::List { "LRANGE" } else { "ZRANGE" };
    let (mut from, mut slice) = (0, FIRST_SLICE);
    loop {
        let mut range = redis::cmd(command);
        range.arg(&place.key).arg(from).arg(from + slice - 1);
        let messages: Vec<Vec<u8>> = range.query_async(conn).await?;
        let bytes: usize = messages.iter().map(|message| message.len() + 64).sum();
        messages.iter().for_each(|message| snapshot.add(places, at, message));
        if messages.len() < slice {
            return Ok(());
        }
        from += messages.len();
        slice = (SLICE_BYTES / (bytes / messages.len())).clamp(1, SLICE_MAX);
    }
}

async fn read_suspects<C: ConnectionLike>(
    conn: &mut C,
    place: &Place,
    snapshot: &mut Snapshot,
    places: &Places,
    at: usize,
) -> Result<(), BrokerError> {
    let (mut cursor, mut seen) = (0_u64, BTreeSet::new());
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(&place.key).arg(cursor).arg("COUNT").arg(32);
        let (next, page): (u64, Vec<Vec<u8>>) = scan.query_async(conn).await?;
        for pair in page.chunks_exact(2) {
            if seen.insert(pair[0].clone()) {
                snapshot.add_suspect(places, at, &pair[0], &pair[1]);
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

/// The first message in a list or sorted set whose header is the one looked for.
pub(super) async fn find<C: ConnectionLike>(
    conn: &mut C,
    key: &str,
    zset: bool,
    is_it: impl Fn(&Header) -> bool,
) -> Result<Option<Vec<u8>>, BrokerError> {
    let (mut from, slice) = (0, 100);
    loop {
        let mut range = redis::cmd(if zset { "ZRANGE" } else { "LRANGE" });
        range.arg(key).arg(from).arg(from + slice - 1);
        let messages: Vec<Vec<u8>> = range.query_async(conn).await?;
        let found = |message: &&Vec<u8>| Header::parse(message).is_ok_and(|(header, _)| is_it(&header));
        if let Some(message) = messages.iter().find(found) {
            return Ok(Some(message.clone()));
        }
        if messages.len() < slice {
            return Ok(None);
        }
        from += slice;
    }
}
