//! Finds the master that sentinels watch.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, RedisError, Value};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::endpoint::{Endpoint, Node, Sentinels, Way};
use super::{ConnectionError, Patience, Timeouts, open};

/// Sentinels that answer this much later than the first are not waited for.
const STRAGGLERS: Duration = Duration::from_millis(150);
/// How often a sentinel is asked whether the master is still the same.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// What a sentinel says: where the master is, and since which fail-over. The latest is right.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    epoch: u64,
    node: Node,
}

/// What a look at a server has shown.
enum Seen {
    Master(ConnectionInfo, MultiplexedConnection),
    No(ConnectionError),
}

/// Asks all sentinels at once, and looks at the server that those name who know of the latest fail-over, then at the
/// others: one sentinel may be out of reach, another may not have heard yet. The caller limits the time.
pub(super) async fn master(
    endpoint: &Endpoint,
    sentinels: &Sentinels,
    timeouts: &Timeouts,
) -> Result<(ConnectionInfo, MultiplexedConnection), ConnectionError> {
    let mut asked = JoinSet::new();
    for node in &sentinels.nodes {
        asked.spawn(ask(sentinels.clone(), node.clone(), *timeouts));
    }
    let (mut tried, mut no_master, mut nothing) = (HashSet::new(), None, None);
    let mut named: Vec<Named> = Vec::new();
    loop {
        // One answer, and those that come soon after it.
        while let Some(found) = next(&mut asked, !named.is_empty()).await {
            match found {
                Ok(found) if !tried.contains(&found.node) => named.push(found),
                Ok(_) => {}
                Err(error) => nothing = Some(telling(nothing, error)),
            }
        }
        named.sort_by_key(|named| named.epoch);
        let Some(Named { node, .. }) = named.pop() else { break };
        if tried.insert(node.clone()) {
            match look_at(endpoint.clone(), node, *timeouts).await {
                Seen::Master(info, connection) => return Ok((info, connection)),
                Seen::No(error) => no_master = Some(telling(no_master, error)),
            }
        }
    }
    // Without any sentinel a URL cannot be read.
    Err(no_master.or(nothing).unwrap_or_else(|| not_ready(endpoint, "no sentinel was asked".to_owned())))
}

type Answer = Result<Named, ConnectionError>;

/// The next answer; where there is one already, only if it comes soon.
async fn next(asked: &mut JoinSet<Answer>, soon: bool) -> Option<Answer> {
    let answer = match soon {
        true => timeout(STRAGGLERS, asked.join_next()).await.ok().flatten(),
        false => asked.join_next().await,
    };
    let cut_off = |error: JoinError| {
        // The runtime ends, or it panicked: whichever, that sentinel has told nothing.
        Err(ConnectionError::Unreachable { endpoint: "a sentinel".to_owned(), why: error.to_string() })
    };
    answer.map(|joined| joined.unwrap_or_else(cut_off))
}

/// Of two failures, the one to tell: a refusal says what is wrong, while somebody is always out of reach.
fn telling(earlier: Option<ConnectionError>, later: ConnectionError) -> ConnectionError {
    match earlier {
        Some(earlier) if !earlier.is_retryable() => earlier,
        _ => later,
    }
}

async fn ask(sentinels: Sentinels, node: Node, timeouts: Timeouts) -> Answer {
    let lost = |error| ConnectionError::of_sentinel(&node, &error);
    let mut connection = open(sentinels.at(&node, &timeouts), &timeouts).await.map_err(lost)?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("MASTER").arg(&sentinels.service);
    match question.query_async::<HashMap<String, String>>(&mut connection).await {
        Ok(fields) => named(&fields).ok_or_else(|| ConnectionError::Refused {
            endpoint: format!("the sentinel {node}"),
            why: "it tells no address of its master".to_owned(),
        }),
        Err(error) if error.detail().is_some_and(|detail| detail.contains("No such master")) => {
            Err(ConnectionError::Refused {
                endpoint: format!("the sentinel {node}"),
                why: format!("it watches no master named {:?}", sentinels.service),
            })
        }
        Err(error) => Err(lost(error)),
    }
}

fn named(fields: &HashMap<String, String>) -> Option<Named> {
    let node = Node { host: fields.get("ip")?.clone(), port: fields.get("port")?.parse().ok()? };
    Some(Named { epoch: fields.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default(), node })
}

/// Casts doubt on all connections of this patience when the sentinels name another master: the old one may live on,
/// and take for seconds what will be lost. Ends with the patience.
pub fn watch_master(endpoint: &Endpoint, timeouts: &Timeouts, patience: &Arc<Patience>) {
    if let Way::Ask(sentinels) = endpoint.way(timeouts) {
        tokio::spawn(watch(sentinels.clone(), *timeouts, Arc::downgrade(patience)));
    }
}

/// Asks one sentinel at a time, each in its turn: there may be many who watch.
async fn watch(sentinels: Sentinels, timeouts: Timeouts, patience: Weak<Patience>) {
    let mut last: Option<Named> = None;
    let mut turn = std::process::id() as usize;
    while patience.strong_count() > 0 {
        turn = turn.wrapping_add(1);
        let node = sentinels.nodes[turn % sentinels.nodes.len()].clone();
        let asked = timeout(timeouts.connect, ask(sentinels.clone(), node, timeouts)).await;
        // Who has heard of fewer fail-overs knows less.
        if let Ok(Ok(named)) = asked
            && last.as_ref().is_none_or(|last| last.epoch <= named.epoch)
        {
            let moved = last.as_ref().is_some_and(|last| last.node != named.node);
            last = Some(named);
            if let (true, Some(patience)) = (moved, patience.upgrade()) {
                patience.doubt();
            }
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

async fn look_at(endpoint: Endpoint, node: Node, timeouts: Timeouts) -> Seen {
    let info = endpoint.at(&node, &timeouts);
    let seen = async {
        let mut connection = open(info.clone(), &timeouts).await?;
        let role = redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await;
        Ok::<_, RedisError>((connection, role))
    };
    match seen.await {
        Ok((connection, Ok(role))) if is_master(&role) => Seen::Master(info, connection),
        // Who may not ask gets to know it from READONLY.
        Ok((connection, Err(error))) if error.code() == Some("NOPERM") => Seen::Master(info, connection),
        Ok((_, Err(error))) | Err(error) => Seen::No(ConnectionError::of(&endpoint, &error)),
        Ok(_) => Seen::No(not_ready(&endpoint, format!("{node} is not the master any more, or not yet"))),
    }
}

fn is_master(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(name)) if name == b"master")
}

fn not_ready(endpoint: &Endpoint, why: String) -> ConnectionError {
    ConnectionError::NotReady { endpoint: endpoint.to_string(), why }
}
