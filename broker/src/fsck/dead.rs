//! Dead letters: each has a time and a record, and both are counted once.

use std::collections::BTreeSet;

use gristmill_shared::QueueName;
use gristmill_shared::dead_letter::DeadLetter;
use redis::aio::ConnectionLike;

use super::check::Check;
use super::finding::{Finding, Flaw, Remedy};
use super::places::Places;
use super::{Look, queues};
use crate::error::BrokerError;

/// Records may be as large as a message.
const PAGE: usize = 32;

pub(super) async fn check<C: ConnectionLike>(look: &mut Look<'_, C>, places: &Places) -> Result<(), BrokerError> {
    for queue in &places.queues {
        check_counter(look, queue).await?;
        check_times(look, queue).await?;
        check_records(look, queue).await?;
    }
    Ok(())
}

async fn check_counter<C: ConnectionLike>(look: &mut Look<'_, C>, queue: &QueueName) -> Result<(), BrokerError> {
    let keys = look.broker.keys();
    let key = keys.queue(queue);
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("HGET").arg(&key).arg("dead_tasks").cmd("ZCARD").arg(keys.dead(queue));
    let (found, letters): (Option<String>, i64) = pipe.query_async(look.conn).await?;
    if let Some(finding) = queues::counter(&key, "dead_tasks", found.as_deref(), letters) {
        look.find(finding);
    }
    Ok(())
}

async fn check_times<C: ConnectionLike>(look: &mut Look<'_, C>, queue: &QueueName) -> Result<(), BrokerError> {
    let keys = look.broker.keys();
    let (dead, records) = (keys.dead(queue), keys.dead_records(queue));
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("ZSCAN");
        let (next, page): (u64, Vec<Vec<u8>>) =
            scan.arg(&dead).arg(cursor).arg("COUNT").arg(500).query_async(look.conn).await?;
        let ids: Vec<_> = page.into_iter().step_by(2).collect();
        if !ids.is_empty() {
            let mut pipe = redis::pipe();
            ids.iter().for_each(|id| _ = pipe.cmd("HEXISTS").arg(&records).arg(id));
            let there: Vec<bool> = pipe.query_async(look.conn).await?;
            for (id, _) in ids.into_iter().zip(there).filter(|(_, there)| !there) {
                let checks = [Check::Member(dead.clone(), id.clone()), Check::NoField(records.clone(), id.clone())];
                let drop = vec![b"ZREM".to_vec(), dead.clone().into_bytes(), id.clone()];
                let remedy = Remedy::commands("drops its time", checks.to_vec(), vec![drop]);
                let finding = Finding::new(Flaw::LetterWithoutRecord, &dead, "a letter of that id", "only its time");
                look.find_if(&checks, finding.at(text(&id)).remedy(remedy)).await?;
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

async fn check_records<C: ConnectionLike>(look: &mut Look<'_, C>, queue: &QueueName) -> Result<(), BrokerError> {
    let keys = look.broker.keys();
    let (dead, records) = (keys.dead(queue), keys.dead_records(queue));
    let (mut cursor, mut seen) = (0_u64, BTreeSet::new());
    loop {
        let mut scan = redis::cmd("HSCAN");
        let (next, page): (u64, Vec<Vec<u8>>) =
            scan.arg(&records).arg(cursor).arg("COUNT").arg(PAGE).query_async(look.conn).await?;
        for pair in page.chunks_exact(2) {
            if seen.insert(pair[0].clone()) {
                check_record(look, &dead, &records, &pair[0], &pair[1]).await?;
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

async fn check_record<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    dead: &str,
    records: &str,
    id: &[u8],
    record: &[u8],
) -> Result<(), BrokerError> {
    let is_this = Check::Field(records.to_owned(), text(id), Some(record.to_vec()));
    match DeadLetter::parse(record) {
        Ok(letter) => {
            let listed: Option<f64> = redis::cmd("ZSCORE").arg(dead).arg(id).query_async(look.conn).await?;
            if listed.is_some() {
                return Ok(());
            }
            let checks = [is_this, Check::NotMember(dead.to_owned(), id.to_vec())];
            let at = letter.at_ms.to_string().into_bytes();
            let add = vec![b"ZADD".to_vec(), dead.as_bytes().to_vec(), at, id.to_vec()];
            let remedy = Remedy::commands("lists it again, by its own time", checks.to_vec(), vec![add]);
            let finding =
                Finding::new(Flaw::RecordWithoutLetter, records, "a time for each letter", "a letter without");
            look.find_if(&checks, finding.at(text(id)).remedy(remedy)).await
        }
        Err(error) => {
            let delete = |command: &[u8], key: &str| vec![command.to_vec(), key.as_bytes().to_vec(), id.to_vec()];
            let commands = vec![delete(b"ZREM", dead), delete(b"HDEL", records)];
            let remedy = Remedy::commands("drops it", vec![is_this.clone()], commands);
            let finding = Finding::new(Flaw::UnreadableLetter, records, "a dead letter", error.to_string());
            look.find_if(&[is_this], finding.at(text(id)).remedy(remedy)).await
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
