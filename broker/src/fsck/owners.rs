//! Every key has an owner that will delete it, or a time to live.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill_shared::{BatchId, QueueName, defaults};
use redis::aio::ConnectionLike;

use super::Look;
use super::check::Check;
use super::finding::{Finding, Flaw, Remedy, words};
use super::names::KeyName;
use crate::error::BrokerError;

/// Keys that are not ours, or are not what they should be.
pub(super) fn check_names<C: ConnectionLike>(look: &mut Look<'_, C>) {
    let by_hand = "nothing: delete it yourself if nobody needs it; a namespace should be Gristmill's alone";
    let unknown =
        |key: &String| Finding::new(Flaw::UnknownKey, key, "keys of Gristmill", "a key that it does not know");
    let wrong = |(key, expected, found): &(String, &str, String)| Finding::new(Flaw::WrongType, key, *expected, found);
    let unknown = look.inventory.unknown.iter().map(unknown);
    let findings: Vec<_> = unknown.chain(look.inventory.wrong.iter().map(wrong)).collect();
    findings.into_iter().for_each(|finding| look.find(finding.remedy(Remedy::none(by_hand))));
}

pub(super) async fn check<C: ConnectionLike>(look: &mut Look<'_, C>) -> Result<(), BrokerError> {
    check_times_to_live(look).await?;
    check_batch_keys(look).await?;
    check_queues(look).await?;
    check_batches(look).await?;
    check_marks(look).await
}

/// How long a key of this name lives that has no time to live.
fn life(name: &KeyName) -> Option<Duration> {
    let longest = defaults::MESSAGE_LIFE + defaults::RESULT_TTL + defaults::BLOB_MARGIN;
    Some(match name {
        KeyName::Blob(_) | KeyName::Parked(_) => longest,
        KeyName::Doorbell(_) | KeyName::Worker => Duration::from_secs(10),
        KeyName::Clock | KeyName::Kernels => defaults::KERNEL_LISTED,
        KeyName::Once => *defaults::KEY_WINDOW_RANGE.end(),
        KeyName::Fsck => Duration::from_secs(600),
        _ => return None,
    })
}

async fn check_times_to_live<C: ConnectionLike>(look: &mut Look<'_, C>) -> Result<(), BrokerError> {
    let eternal = look.inventory.items.iter().filter(|item| item.ttl_ms == -1);
    let eternal: Vec<_> = eternal.filter_map(|item| Some((item.key.clone(), life(&item.name)?))).collect();
    for (key, life) in eternal {
        let checks = vec![Check::NoTtl(key.clone())];
        let expire = words(["PEXPIRE", &key, &life.as_millis().to_string()]);
        let remedy = Remedy::commands(format!("lets it expire in {} s", life.as_secs()), checks.clone(), vec![expire]);
        look.find_if(&checks, Finding::new(Flaw::NoTtl, key, "a time to live", "none").remedy(remedy)).await?;
    }
    Ok(())
}

async fn check_batch_keys<C: ConnectionLike>(look: &mut Look<'_, C>) -> Result<(), BrokerError> {
    let batches: BTreeSet<_> = look.inventory.batches().into_iter().collect();
    let of = |name: &KeyName| match name {
        KeyName::Results(id) | KeyName::Runs(id) => Some(*id),
        _ => None,
    };
    let owned = look.inventory.items.iter().filter_map(|item| Some((item.key.clone(), of(&item.name)?)));
    let orphans: Vec<_> = owned.filter(|(_, id)| !batches.contains(id)).collect();
    for (key, id) in orphans {
        let checks = vec![Check::Present(key.clone()), Check::Absent(look.broker.keys().batch(id))];
        let remedy = Remedy::commands("drops it", checks.clone(), vec![words(["UNLINK", &key])]);
        look.find_if(&checks, Finding::new(Flaw::Orphan, key, "its batch", "no such batch").remedy(remedy)).await?;
    }
    Ok(())
}

async fn check_queues<C: ConnectionLike>(look: &mut Look<'_, C>) -> Result<(), BrokerError> {
    let keys = look.broker.keys();
    let mut listed = BTreeSet::new();
    for register in [keys.queues(), keys.paused()] {
        let names: Vec<Vec<u8>> = redis::cmd("SMEMBERS").arg(&register).query_async(look.conn).await?;
        for name in names {
            match std::str::from_utf8(&name).ok().and_then(|name| QueueName::new(name).ok()) {
                Some(queue) if register == keys.queues() => _ = listed.insert(queue),
                Some(_) => {}
                None => bad_member(look, &register, &name, "SREM", "names of queues").await?,
            }
        }
    }
    // A doorbell rings for whoever waits, and a limit may be set for a queue that nobody has used yet.
    let lasting = look.inventory.items.iter().filter(|item| !matches!(item.name, KeyName::Doorbell(_)));
    let unlisted = lasting.filter_map(|item| Some((item.name.queue()?.clone(), item.key.clone())));
    let unlisted: Vec<_> = unlisted.filter(|(queue, _)| !listed.contains(queue)).collect();
    let mut told = BTreeSet::new();
    for (queue, key) in unlisted {
        let is_used = key != keys.queue(&queue) || has_counters(look, &key).await?;
        if is_used && told.insert(queue.clone()) {
            let checks = vec![Check::Present(key.clone()), Check::NotInSet(keys.queues(), queue.to_string())];
            let add = words(["SADD", &keys.queues(), queue.as_str()]);
            let remedy = Remedy::commands("lists it", checks.clone(), vec![add]);
            let expected = format!("{queue} among {}", keys.queues());
            look.find_if(&checks, Finding::new(Flaw::UnlistedQueue, key, expected, "not listed").remedy(remedy))
                .await?;
        }
    }
    Ok(())
}

async fn has_counters<C: ConnectionLike>(look: &mut Look<'_, C>, key: &str) -> Result<bool, BrokerError> {
    let fields: Vec<String> = redis::cmd("HKEYS").arg(key).query_async(look.conn).await?;
    Ok(fields.iter().any(|field| field.ends_with("_tasks") || field.ends_with("_total")))
}

async fn check_batches<C: ConnectionLike>(look: &mut Look<'_, C>) -> Result<(), BrokerError> {
    let key = look.broker.keys().batches();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("ZSCAN");
        let (next, page): (u64, Vec<Vec<u8>>) =
            scan.arg(&key).arg(cursor).arg("COUNT").arg(500).query_async(look.conn).await?;
        for member in page.iter().step_by(2).filter(|member| batch(member).is_none()) {
            bad_member(look, &key, member, "ZREM", "ids of batches").await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

/// A cancel mark goes when its batch is swept: sweep finds the batch in the set of batches.
async fn check_marks<C: ConnectionLike>(look: &mut Look<'_, C>) -> Result<(), BrokerError> {
    let keys = look.broker.keys();
    let (cancelled, batches) = (keys.cancelled(), keys.batches());
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("HSCAN");
        let (next, page): (u64, Vec<Vec<u8>>) =
            scan.arg(&cancelled).arg(cursor).arg("COUNT").arg(32).query_async(look.conn).await?;
        for field in page.into_iter().step_by(2) {
            let Some(id) = batch(&field) else {
                bad_member(look, &cancelled, &field, "HDEL", "ids of batches").await?;
                continue;
            };
            let mut checks = vec![
                Check::HasField(cancelled.clone(), field.clone()),
                Check::NotMember(batches.clone(), field.clone()),
            ];
            let finding = Finding::new(Flaw::Orphan, &cancelled, "its batch, which goes with it", "no such batch");
            let finding = finding.at(id.to_string());
            checks.push(Check::Absent(keys.batch(id)));
            let delete = words(["HDEL", &cancelled, &id.to_string()]);
            let remedy = Remedy::commands("drops it", checks.clone(), vec![delete]);
            look.find_if(&checks, finding.remedy(remedy)).await?;
            // The mark of a batch of one is found again through the set.
            checks[2] = Check::Field(keys.batch(id), "single".to_owned(), Some(b"1".to_vec()));
            let add = words(["ZADD", &batches, &look.now_ms.to_string(), &id.to_string()]);
            let remedy = Remedy::commands("lists it", checks.clone(), vec![add]);
            let finding = Finding::new(Flaw::UnlistedBatch, &batches, "the batch of a cancel mark", "not listed");
            look.find_if(&checks, finding.at(id.to_string()).remedy(remedy)).await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

fn batch(id: &[u8]) -> Option<BatchId> {
    std::str::from_utf8(id).ok()?.parse().ok()
}

/// Something in a register of ours that is no id or name.
pub(super) async fn bad_member<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    key: &str,
    member: &[u8],
    drop: &str,
    expected: &str,
) -> Result<(), BrokerError> {
    let command = vec![drop.as_bytes().to_vec(), key.as_bytes().to_vec(), member.to_vec()];
    let remedy = Remedy::commands("drops it", Vec::new(), vec![command]);
    let found = String::from_utf8_lossy(member).chars().take(60).collect::<String>();
    look.find(Finding::new(Flaw::BadMember, key, expected, found.clone()).at(found).remedy(remedy));
    Ok(())
}
