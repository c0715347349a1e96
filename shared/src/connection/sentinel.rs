//! Finds the master that sentinels watch.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, RedisError, Value};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::endpoint::{Endpoint, Node, Sentinels};
use super::route::Named;
use super::{ConnectionError, Timeouts, open};

/// Sentinels that answer this much later than the first are not waited for.
const STRAGGLERS: Duration = Duration::from_millis(150);

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
    let begun = Instant::now();
    let (mut tried, mut no_master, mut nothing) = (HashSet::new(), None, None);
    let mut named: Vec<Named> = Vec::new();
    loop {
        // One answer, and those that come soon after it. Who knows less than we do is not enough.
        loop {
            let wait = match named.as_slice() {
                [] => None,
                old if old.iter().all(|named| sentinels.route.knows_more_than(named)) => {
                    Some((timeouts.connect / 2).saturating_sub(begun.elapsed()).max(STRAGGLERS))
                }
                _ => Some(STRAGGLERS),
            };
            let Some(found) = next(&mut asked, wait).await else { break };
            match found {
                Ok(found) if !tried.contains(&found.node) => named.push(found),
                Ok(_) => {}
                Err(error) => nothing = Some(telling(nothing, error)),
            }
        }
        named.sort_by_key(|named| named.epoch);
        let Some(best) = named.pop() else { break };
        if tried.insert(best.node.clone()) {
            match look_at(endpoint, &best.node, timeouts).await {
                Seen::Master(info, connection) => {
                    sentinels.route.led_to(&best);
                    return Ok((info, connection));
                }
                Seen::No(error) => no_master = Some(telling(no_master, error)),
            }
        }
    }
    // Without any sentinel a URL cannot be read.
    Err(no_master.or(nothing).unwrap_or_else(|| not_ready(endpoint, "no sentinel was asked".to_owned())))
}

type Answer = Result<Named, ConnectionError>;

/// The next answer; where there is one already, only if it comes in this time.
async fn next(asked: &mut JoinSet<Answer>, wait: Option<Duration>) -> Option<Answer> {
    let answer = match wait {
        Some(wait) => timeout(wait, asked.join_next()).await.ok().flatten(),
        None => asked.join_next().await,
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
    let mut connection = at_sentinel(&sentinels, &node, &timeouts).await?;
    question(&mut connection, &sentinels, &node).await
}

/// A connection to one of the sentinels.
pub(super) async fn at_sentinel(
    sentinels: &Sentinels,
    node: &Node,
    timeouts: &Timeouts,
) -> Result<MultiplexedConnection, ConnectionError> {
    open(sentinels.at(node, timeouts), timeouts).await.map_err(|error| ConnectionError::of_sentinel(node, &error))
}

/// Asks for the epoch first: a fail-over between the two answers must not make the old master look like the new one.
pub(super) async fn question(connection: &mut MultiplexedConnection, sentinels: &Sentinels, node: &Node) -> Answer {
    let lost = |error: RedisError| match error.detail().is_some_and(|detail| detail.contains("No such master")) {
        true => refused(node, format!("it watches no master named {:?}", sentinels.service)),
        false => ConnectionError::of_sentinel(node, &error),
    };
    let about = |what: &str| redis::cmd("SENTINEL").arg(what).arg(&sentinels.service).to_owned();
    let fields: HashMap<String, String> = about("MASTER").query_async(connection).await.map_err(lost)?;
    // The fields already have the new epoch, but still the old address, while the replicas are led to the new master.
    let address = about("GET-MASTER-ADDR-BY-NAME").query_async::<Option<(String, u16)>>(connection).await;
    let Some((host, port)) = address.map_err(lost)? else {
        return Err(refused(node, "it tells no address of its master".to_owned()));
    };
    let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
    Ok(Named { epoch, node: Node { host, port } })
}

fn refused(node: &Node, why: String) -> ConnectionError {
    ConnectionError::Refused { endpoint: format!("the sentinel {node}"), why }
}

async fn look_at(endpoint: &Endpoint, node: &Node, timeouts: &Timeouts) -> Seen {
    let info = endpoint.at(node, timeouts);
    let seen = async {
        let mut connection = open(info.clone(), timeouts).await?;
        let role = redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await;
        Ok::<_, RedisError>((connection, role))
    };
    match seen.await {
        Ok((connection, Ok(role))) if is_master(&role) => Seen::Master(info, connection),
        // Who may not ask gets to know it from READONLY.
        Ok((connection, Err(error))) if error.code() == Some("NOPERM") => Seen::Master(info, connection),
        Ok((_, Err(error))) | Err(error) => Seen::No(ConnectionError::of(endpoint, &error)),
        Ok(_) => Seen::No(not_ready(endpoint, format!("{node} is not the master any more, or not yet"))),
    }
}

fn is_master(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(name)) if name == b"master")
}

fn not_ready(endpoint: &Endpoint, why: String) -> ConnectionError {
    ConnectionError::NotReady { endpoint: endpoint.to_string(), why }
}

#[cfg(test)]
#[path = "sentinel_tests.rs"]
mod tests;
