//! Finds the master that sentinels watch.

use std::collections::HashSet;

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, RedisError, Value};
use tokio::task::JoinSet;

use super::endpoint::{Endpoint, Node, Sentinels};
use super::{ConnectionError, Timeouts, open};

/// What one of those who were asked has to say.
enum Found {
    /// A sentinel says that the master is there.
    Named(Node),
    /// It is there, and is the master.
    Master(ConnectionInfo, MultiplexedConnection),
    /// A server that was named is no master for us.
    NoMaster(ConnectionError),
    /// A sentinel names nobody.
    Nothing(ConnectionError),
}

/// Asks all sentinels at once, and tries each server that one of them names: one sentinel may be out of reach,
/// another may not know yet that the master is a different one. The caller limits the time.
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
    while let Some(found) = asked.join_next().await {
        match found {
            Ok(Found::Named(node)) if tried.insert(node.clone()) => {
                asked.spawn(look_at(endpoint.clone(), node, *timeouts));
            }
            Ok(Found::Named(_)) => {}
            Ok(Found::Master(info, connection)) => return Ok((info, connection)),
            Ok(Found::NoMaster(error)) => no_master = Some(telling(no_master, error)),
            Ok(Found::Nothing(error)) => nothing = Some(telling(nothing, error)),
            // None is aborted before this returns; whoever panicked has named nobody.
            Err(error) => nothing = Some(telling(nothing, not_ready(endpoint, error.to_string()))),
        }
    }
    // Without any sentinel a URL cannot be read.
    Err(no_master.or(nothing).unwrap_or_else(|| not_ready(endpoint, "no sentinel was asked".to_owned())))
}

/// Of two failures, the one to tell: a refusal says what is wrong, while somebody is always out of reach.
fn telling(earlier: Option<ConnectionError>, later: ConnectionError) -> ConnectionError {
    match earlier {
        Some(earlier) if !earlier.is_retryable() => earlier,
        _ => later,
    }
}

async fn ask(sentinels: Sentinels, node: Node, timeouts: Timeouts) -> Found {
    let asked = async {
        let mut connection = open(sentinels.at(&node, &timeouts), &timeouts).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&sentinels.service);
        question.query_async::<Option<(String, u16)>>(&mut connection).await
    };
    match asked.await {
        Ok(Some((host, port))) => Found::Named(Node { host, port }),
        Ok(None) => Found::Nothing(ConnectionError::Refused {
            endpoint: format!("the sentinel {node}"),
            why: format!("it watches no master named {:?}", sentinels.service),
        }),
        Err(error) => Found::Nothing(ConnectionError::of_sentinel(&node, &error)),
    }
}

async fn look_at(endpoint: Endpoint, node: Node, timeouts: Timeouts) -> Found {
    let info = endpoint.at(&node, &timeouts);
    let seen = async {
        let mut connection = open(info.clone(), &timeouts).await?;
        let role = redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await;
        Ok::<_, RedisError>((connection, role))
    };
    match seen.await {
        Ok((connection, Ok(role))) if is_master(&role) => Found::Master(info, connection),
        // Who may not ask gets to know it from READONLY.
        Ok((connection, Err(error))) if error.code() == Some("NOPERM") => Found::Master(info, connection),
        Ok((_, Err(error))) | Err(error) => Found::NoMaster(ConnectionError::of(&endpoint, &error)),
        Ok(_) => Found::NoMaster(not_ready(&endpoint, format!("{node} is not the master any more, or not yet"))),
    }
}

fn is_master(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(name)) if name == b"master")
}

fn not_ready(endpoint: &Endpoint, why: String) -> ConnectionError {
    ConnectionError::NotReady { endpoint: endpoint.to_string(), why }
}
