//! Takes back what dead consumers held, as the supervisor reports them, and acknowledges each report
//! when that is done.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use gristmill_broker::{BrokerError, DeathReport, Reclaimed};
use gristmill_shared::ConsumerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::Mutex;

use super::{Agent, judge};
use crate::control::{Death, DeathReader};

/// Reads reports until the pipe ends. Each is dealt with on its own, so that none waits for another.
pub async fn listen(agent: &Rc<Agent>, reports: OwnedFd, acks: OwnedFd) -> io::Result<()> {
    let mut reports = Receiver::from_owned_fd(reports)?;
    let acks = Rc::new(Mutex::new(Sender::from_owned_fd(acks)?));
    let mut reader = DeathReader::default();
    let mut buffer = [0; 4096];
    loop {
        match reports.read(&mut buffer).await? {
            0 => return Ok(()),
            len => reader.push(&buffer[..len]),
        }
        while let Some(death) = reader.next().map_err(io::Error::other)? {
            let (agent, acks) = (Rc::clone(agent), Rc::clone(&acks));
            tokio::task::spawn_local(async move { deal_with(&agent, death, &acks).await });
        }
    }
}

async fn deal_with(agent: &Agent, death: Death, acks: &Mutex<Sender>) {
    match death.consumer() {
        Ok(consumer) => reported(agent, consumer, &why(&death)).await,
        Err(error) => tracing::error!("a report of a death names no consumer: {error}"),
    }
    if let Err(error) = acks.lock().await.write_all(&death.report_id.to_be_bytes()).await {
        // It comes again, to this agent's successor.
        tracing::warn!(%error, "a report of a death cannot be acknowledged");
    }
}

/// What the supervisor saw, in the broker's words.
fn why(death: &Death) -> DeathReport {
    match death.running {
        _ if death.ordered => DeathReport::Ordered,
        None => DeathReport::Idle,
        Some((position, item)) => {
            let mut certificate = death.certificate.clone();
            certificate.item = Some(item);
            DeathReport::Died { position, certificate }
        }
    }
}

/// Takes back what a consumer held that nobody saw die. Tried once: while the lease stands, each tick finds it
/// again, and what cannot be taken from one must not keep the others waiting.
pub async fn expired(agent: &Agent, consumer: ConsumerId) -> Result<(), BrokerError> {
    let queues = &agent.config.queues;
    let call = async |conn: &mut _| agent.broker.reclaim(conn, consumer, &DeathReport::Expired, queues).await;
    judge_all(agent, agent.wire.call(call).await?).await;
    Ok(())
}

/// The same for a death that was reported: only the report knows what ran, so this is tried until it is done.
async fn reported(agent: &Agent, consumer: ConsumerId, why: &DeathReport) {
    let queues = &agent.config.queues;
    let call = async |conn: &mut _| agent.broker.reclaim(conn, consumer, why, queues).await;
    judge_all(agent, agent.insist("a reclaim", call).await).await;
}

/// Judges at once what a reclaim has found.
async fn judge_all(agent: &Agent, reclaimed: Reclaimed) {
    if let Reclaimed::Done { suspects, .. } = reclaimed {
        for field in suspects {
            judge::found(agent, &field).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_shared::{Certificate, DeathCause};

    fn death(running: Option<(u64, u32)>, ordered: bool) -> Death {
        let consumer = ConsumerId::new();
        let certificate = Certificate::unseen(DeathCause::Crash, consumer.to_string(), "killed by SIGSEGV");
        Death::new(1, consumer, 0, running, ordered, certificate)
    }

    #[test]
    fn the_cause_decides_who_is_charged() {
        assert!(matches!(why(&death(None, false)), DeathReport::Idle));
        assert!(matches!(why(&death(Some((5, 2)), true)), DeathReport::Ordered));
        let DeathReport::Died { position, certificate } = why(&death(Some((5, 2)), false)) else {
            panic!("it died under a task");
        };
        assert_eq!((position, certificate.item), (5, Some(2)));
    }
}
