//! Consumers: lease, hash and messages in flight go together, and no lease outlives its consumer for long.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill_shared::{ConsumerId, Keys};
use redis::aio::ConnectionLike;

use super::check::Check;
use super::finding::{Action, Finding, Flaw, Remedy, words};
use super::names::KeyName;
use super::{Look, Report};
use crate::Broker;
use crate::error::BrokerError;

/// A lease that ran out so long ago should have been reclaimed. Longer than any fail-over takes.
const LAPSED_MS: u64 = 60_000;
/// After Redis was away all leases have run out: so long everybody may take to renew, or to reclaim.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

pub(super) async fn check<C: ConnectionLike>(look: &mut Look<'_, C>) -> Result<(), BrokerError> {
    let keys = look.broker.keys();
    let members: Vec<Vec<u8>> = redis::cmd("ZRANGE").arg(keys.leases()).arg(0).arg(-1).query_async(look.conn).await?;
    let mut leases = BTreeSet::new();
    for member in members {
        match std::str::from_utf8(&member).ok().and_then(|id| id.parse::<ConsumerId>().ok()) {
            Some(id) => _ = leases.insert(id),
            None => super::owners::bad_member(look, &keys.leases(), &member, "ZREM", "ids of consumers").await?,
        }
    }
    let known = |name: fn(&KeyName) -> Option<ConsumerId>| -> BTreeSet<_> {
        look.inventory.items.iter().filter_map(|item| name(&item.name)).collect()
    };
    let holders = known(|name| if let KeyName::Inflight(id) = name { Some(*id) } else { None });
    let consumers = known(|name| if let KeyName::Consumer(id) = name { Some(*id) } else { None });
    for id in holders.difference(&leases) {
        inflight_without_lease(look, keys, *id).await?;
    }
    for id in consumers.difference(&leases) {
        consumer_without_lease(look, keys, *id).await?;
    }
    for id in leases.difference(&consumers) {
        lease_without_consumer(look, keys, *id).await?;
    }
    Ok(())
}

async fn inflight_without_lease<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    keys: &Keys,
    id: ConsumerId,
) -> Result<(), BrokerError> {
    let key = keys.inflight(id);
    let checks = [Check::Present(key.clone()), not_leased(keys, id)];
    let remedy = Remedy::new("returns its messages to the front of their lanes, uncounted", Action::Reclaim(id));
    let finding = Finding::new(Flaw::InflightWithoutLease, key, "a lease of its consumer", "none").remedy(remedy);
    look.find_if(&checks, finding).await
}

async fn consumer_without_lease<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    keys: &Keys,
    id: ConsumerId,
) -> Result<(), BrokerError> {
    let key = keys.consumer(id);
    // With messages in flight it goes with them.
    let checks = vec![Check::Present(key.clone()), not_leased(keys, id), Check::Absent(keys.inflight(id))];
    let remedy = Remedy::commands("drops it", checks.clone(), vec![words(["UNLINK", &key])]);
    look.find_if(&checks, Finding::new(Flaw::Orphan, key, "a lease of its consumer", "none").remedy(remedy)).await
}

async fn lease_without_consumer<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    keys: &Keys,
    id: ConsumerId,
) -> Result<(), BrokerError> {
    let member = id.to_string().into_bytes();
    let checks = [Check::Member(keys.leases(), member), Check::Absent(keys.consumer(id))];
    let words = "takes the lease away; what was in flight returns to its lanes, uncounted";
    let finding = Finding::new(Flaw::LeaseWithoutConsumer, keys.leases(), "a hash of the consumer", "none");
    look.find_if(&checks, finding.at(id.to_string()).remedy(Remedy::new(words, Action::Reclaim(id)))).await
}

fn not_leased(keys: &Keys, id: ConsumerId) -> Check {
    Check::NotMember(keys.leases(), id.to_string().into_bytes())
}

/// Leases that ran out long ago. Where there are some, this waits for those who may still renew or reclaim them.
pub(super) async fn lapsed<C: ConnectionLike>(
    broker: &Broker,
    conn: &mut C,
    report: &mut Report,
) -> Result<(), BrokerError> {
    let key = broker.keys().leases();
    if report.findings.iter().any(|finding| finding.flaw == Flaw::WrongType && finding.key == key) {
        return Ok(());
    }
    let begun = tokio::time::Instant::now();
    loop {
        let now_ms = broker.redis_time_ms(conn).await?;
        let before = now_ms.saturating_sub(LAPSED_MS);
        let found: Vec<(String, f64)> =
            redis::cmd("ZRANGEBYSCORE").arg(&key).arg("-inf").arg(before).arg("WITHSCORES").query_async(conn).await?;
        let known = |id: &ConsumerId| report.findings.iter().any(|f| f.at.as_ref() == Some(&id.to_string()));
        let found = found.into_iter().filter_map(|(id, deadline)| Some((id.parse::<ConsumerId>().ok()?, deadline)));
        let lapsed: Vec<_> = found.filter(|(id, _)| !known(id)).collect();
        if lapsed.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= SETTLES_WITHIN {
            let finding = |(id, deadline): (ConsumerId, f64)| {
                let since = now_ms.saturating_sub(deadline as u64) / 1000;
                let finding = Finding::new(
                    Flaw::LapsedLease,
                    &key,
                    "reclaimed by an agent",
                    format!("ran out {since} s ago; does any worker run?"),
                );
                let words = "reclaims it: its messages become suspects, which an agent judges as a loss";
                finding.at(id.to_string()).remedy(Remedy::new(words, Action::ReclaimLapsed(id)))
            };
            report.findings.extend(lapsed.into_iter().map(finding));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
