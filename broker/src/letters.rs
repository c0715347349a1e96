//! Dead letters: looking through them, and dropping them.

use gristmill_shared::QueueName;
use redis::aio::ConnectionLike;
use redis::{RedisError, Value};

use crate::Broker;
use crate::error::BrokerError;

/// Which dead letters of a queue to list, by the time of burial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterRange {
    /// Not buried before, epoch ms.
    pub from_ms: u64,
    /// Not buried after, epoch ms.
    pub until_ms: u64,
    /// Whether the latest come first.
    pub latest_first: bool,
}

impl Broker {
    /// Ids of dead letters and when they were buried, epoch ms: the first `limit` of the range.
    pub async fn letter_ids<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queue: &QueueName,
        range: &LetterRange,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, BrokerError> {
        let (command, first, last) = match range.latest_first {
            true => ("ZREVRANGEBYSCORE", range.until_ms, range.from_ms),
            false => ("ZRANGEBYSCORE", range.from_ms, range.until_ms),
        };
        let mut command = redis::cmd(command);
        command.arg(self.keys.dead(queue)).arg(first).arg(last).arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit);
        let found: Vec<(String, f64)> = command.query_async(conn).await?;
        Ok(found.into_iter().map(|(id, at_ms)| (id, at_ms as u64)).collect())
    }

    /// The stored forms of dead letters, in the order of `ids`; none for what is gone. As many as fit into
    /// `bytes`, and at least the first.
    pub async fn letters<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queue: &QueueName,
        ids: &[String],
        bytes: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, BrokerError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.keys.dead_records(queue);
        let mut pipe = redis::pipe();
        for id in ids {
            pipe.cmd("HSTRLEN").arg(&key).arg(id);
        }
        let sizes: Vec<usize> = pipe.query_async(conn).await?;
        let mut sum = 0;
        let fitting = sizes.iter().take_while(|&&size| {
            sum += size;
            sum <= bytes
        });
        let fit = fitting.count().max(1);
        Ok(redis::cmd("HMGET").arg(&key).arg(&ids[..fit]).query_async(conn).await?)
    }

    /// The dead letter `id` in each of these queues: when it was buried, epoch ms, and its stored form.
    pub async fn letter_in<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queues: &[QueueName],
        id: &str,
    ) -> Result<Vec<Option<(u64, Vec<u8>)>>, BrokerError> {
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for queue in queues {
            pipe.zscore(self.keys.dead(queue), id).hget(self.keys.dead_records(queue), id);
        }
        let found: Vec<Value> = pipe.query_async(conn).await?;
        let mut letters = Vec::with_capacity(queues.len());
        for pair in found.chunks(2) {
            let [at_ms, stored] = pair else { continue };
            let at_ms: Option<f64> = redis::from_redis_value(at_ms.clone()).map_err(RedisError::from)?;
            let stored: Option<Vec<u8>> = redis::from_redis_value(stored.clone()).map_err(RedisError::from)?;
            letters.push(at_ms.map(|at_ms| at_ms as u64).zip(stored));
        }
        Ok(letters)
    }

    /// Drops dead letters for good, at most 1,000: those whose id and time of burial are given. Returns how many.
    pub async fn discard<C: ConnectionLike>(
        &self,
        conn: &mut C,
        queue: &QueueName,
        letters: &[(String, u64)],
    ) -> Result<u64, BrokerError> {
        let mut script = self.scripts.discard.prepare_invoke();
        script.key(self.keys.none()).key(self.queue_keys(queue).as_slice());
        script.arg(1).arg(queue.as_str());
        for (id, at_ms) in letters {
            script.arg(id).arg(*at_ms);
        }
        Ok(script.invoke_async(conn).await?)
    }
}
