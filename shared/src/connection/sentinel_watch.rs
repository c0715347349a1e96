//! Sees that sentinels have replaced the master although it lives on.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::endpoint::{Endpoint, Sentinels, Way};
use super::route::Named;
use super::sentinel::{at_sentinel, question};
use super::{ConnectionError, Patience, Timeouts};

/// How often a sentinel is asked whether the master is still the same.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Casts doubt on all connections of this patience when the sentinels name a later master than the one that they lead
/// to: the old one may live on, and take for seconds what will be lost. Ends with the patience.
pub fn watch_master(endpoint: &Endpoint, timeouts: &Timeouts, patience: &Arc<Patience>) {
    if let Way::Ask(sentinels) = endpoint.way(timeouts) {
        tokio::spawn(watch(sentinels.clone(), *timeouts, Arc::downgrade(patience)));
    }
}

/// Asks one sentinel at a time, each in its turn: there may be many who watch, and one of the sentinels may be cut
/// off. A connection is kept for its next turn.
async fn watch(sentinels: Sentinels, timeouts: Timeouts, patience: Weak<Patience>) {
    let mut seen = sentinels.route.moves();
    let mut kept: Vec<Option<MultiplexedConnection>> = vec![None; sentinels.nodes.len()];
    let mut turn = std::process::id() as usize;
    while patience.strong_count() > 0 {
        turn = (turn + 1) % kept.len();
        let asked = timeout(timeouts.connect, ask(&sentinels, turn, kept[turn].take(), &timeouts)).await;
        if let Ok(Ok((named, connection))) = asked {
            kept[turn] = Some(connection);
            sentinels.route.heard(named);
        }
        let moves = sentinels.route.moves();
        if std::mem::replace(&mut seen, moves) != moves
            && let Some(patience) = patience.upgrade()
        {
            patience.doubt();
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// What this sentinel says, on the connection that is kept if there is one. One that fails is not used again.
async fn ask(
    sentinels: &Sentinels,
    turn: usize,
    kept: Option<MultiplexedConnection>,
    timeouts: &Timeouts,
) -> Result<(Named, MultiplexedConnection), ConnectionError> {
    let node = &sentinels.nodes[turn];
    let mut connection = match kept {
        Some(connection) => connection,
        None => at_sentinel(sentinels, node, timeouts).await?,
    };
    let named = question(&mut connection, sentinels, node).await?;
    Ok((named, connection))
}
