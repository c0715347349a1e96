//! judge: the verdict on a suspect is written, by whoever removes it.

use gristmill_shared::events;
use gristmill_shared::suspect::Suspect;
use redis::aio::ConnectionLike;

use crate::Broker;
use crate::ending::Ending;
use crate::error::BrokerError;
use crate::reply::Reply;

impl Broker {
    /// The stored form of a suspect; none if it was judged.
    pub async fn suspect<C: ConnectionLike>(&self, conn: &mut C, field: &str) -> Result<Option<Vec<u8>>, BrokerError> {
        Ok(redis::cmd("HGET").arg(self.keys.suspects()).arg(field).query_async(conn).await?)
    }

    /// Writes the verdict on `suspect`. False: somebody else judged it.
    pub async fn judge<C: ConnectionLike>(
        &self,
        conn: &mut C,
        field: &str,
        suspect: &Suspect,
        ending: &Ending,
    ) -> Result<bool, BrokerError> {
        let header = &suspect.message.header;
        let mut script = self.scripts.judge.prepare_invoke();
        script.key(self.keys.none()).key(self.keys.suspects()).key(self.keys.paused()).key(self.keys.batches());
        script.key(self.keys.cancelled()).key(self.keys.clock());
        script.arg(field).arg(suspect.at_ms);
        self.write_ending(&mut script, ending, &[], &[(header.batch, header.queue.clone())])?;
        let mut reply = Reply::new("judge", script.invoke_async(conn).await?)?;
        match reply.text()?.as_str() {
            "DONE" => {
                let task = suspect.message.task(suspect.certificate.item.unwrap_or(0));
                let verdict = if ending.runs.is_empty() { "again" } else { "final" };
                tracing::info!(event = events::SUSPECT_JUDGED, %task, verdict, why = suspect.certificate.summary);
                for dead in &ending.dead {
                    let (task, outcome) = (dead.message.task(0), dead.epitaph.reason.as_str());
                    let text = dead.epitaph.failure.as_ref().map_or("", |failure| failure.message.as_str());
                    tracing::warn!(event = events::TASK_BURIED, %task, outcome, "task is dead: {text}");
                }
                Ok(true)
            }
            "GONE" => Ok(false),
            _ => Err(reply.mismatch()),
        }
    }
}
