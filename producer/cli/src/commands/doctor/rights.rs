//! Whether this user may do what clients and workers do.
//!
//! Commands are queued in a transaction that is then discarded: Redis checks the rights as it queues them, and
//! nothing is carried out.

use gristmill::shared::{BatchId, Keys};

use super::exam::Exam;
use crate::exit::Exit;

/// What clients and workers need, on keys of the namespace. `K` stands for a key, `C` for a channel.
const NEEDED: [&str; 48] = [
    "EVALSHA 0123456789012345678901234567890123456789 1 K",
    "EVAL x 1 K",
    "SCRIPT LOAD x",
    "TIME",
    "PING",
    "INFO",
    "EXISTS K",
    "DEL K",
    "UNLINK K",
    "PEXPIRE K 1",
    "PEXPIREAT K 1",
    "PTTL K",
    "STRLEN K",
    "SET K x",
    "GET K",
    "HSET K f v",
    "HGET K f",
    "HMGET K f",
    "HGETALL K",
    "HKEYS K",
    "HEXISTS K f",
    "HDEL K f",
    "HLEN K",
    "HSCAN K 0",
    "HSTRLEN K f",
    "HINCRBY K f 1",
    "LPUSH K v",
    "RPUSH K v",
    "LPOP K",
    "BLPOP K 1",
    "LRANGE K 0 1",
    "LLEN K",
    "LINDEX K 0",
    "LSET K 0 v",
    "LTRIM K 0 1",
    "SADD K m",
    "SREM K m",
    "SCARD K",
    "SISMEMBER K m",
    "SMEMBERS K",
    "ZADD K 1 m",
    "ZREM K m",
    "ZSCORE K m",
    "ZCARD K",
    "ZRANGE K 0 1",
    "ZRANGEBYSCORE K 0 1",
    "PUBLISH C x",
    "SUBSCRIBE C",
];

/// What only looking and repairing needs.
const LOOKING: [&str; 9] = [
    "SCAN 0",
    "TYPE K",
    "MEMORY USAGE K",
    "ZSCAN K 0",
    "LPOS K v",
    "LREM K 1 v",
    "CONFIG GET x",
    "SLOWLOG GET",
    "WATCH K",
];

pub async fn check(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let user = exam.ask::<String>(redis::cmd("ACL").arg("WHOAMI")).await?;
    let user = user.map_or_else(|| "this user".to_owned(), |user| format!("the user {user}"));
    if exam.ask::<String>(&mut redis::cmd("MULTI")).await?.is_none() {
        exam.warning(
            "rights",
            format!("{user} may not call MULTI, so that its rights were not checked"),
            "allow MULTI, EXEC and DISCARD",
        );
        return Ok(());
    }
    let needed = missing(exam, &NEEDED).await?;
    let looking = missing(exam, &LOOKING).await?;
    exam.ask::<String>(&mut redis::cmd("DISCARD")).await?;
    let prefix = exam.broker.keys().prefix().to_owned();
    if !needed.is_empty() {
        let found = format!("{user} may not call {}", needed.join(", "));
        let advice =
            format!("allow them on the keys and channels {prefix}*: ACL SETUSER <user> ~{prefix}* &{prefix}* +@all");
        exam.error("rights", found, advice);
    } else if !looking.is_empty() {
        let found = format!("{user} may not call {}", looking.join(", "));
        exam.warning("rights", found, "doctor and fsck need them; clients and workers do not");
    } else {
        exam.ok("rights", format!("{user} may do everything"));
    }
    Ok(())
}

/// The commands that Redis does not even queue for want of rights.
async fn missing(exam: &mut Exam<'_>, commands: &[&'static str]) -> Result<Vec<&'static str>, Exit> {
    let keys: &Keys = exam.broker.keys();
    let (key, channel) = (keys.none(), keys.done(BatchId::from_bytes([0; 16])));
    let mut missing = Vec::new();
    for text in commands {
        let mut words = text.split(' ');
        let name = words.next().unwrap_or_default();
        let mut command = redis::cmd(name);
        for word in words {
            command.arg(match word {
                "K" => &key,
                "C" => &channel,
                word => word,
            });
        }
        if let Err(error) = command.query_async::<redis::Value>(exam.conn).await {
            if error.code() == Some("NOPERM") {
                missing.push(name);
            }
            // What else it says does not matter here, unless the connection broke.
            exam.refusal(error)?;
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_of_the_scripts_is_asked_for() {
        let asked: BTreeSet<_> = NEEDED.iter().chain(&LOOKING).filter_map(|text| text.split(' ').next()).collect();
        for source in gristmill_broker::script::SOURCES {
            for call in source.text().split("redis.call(").skip(1) {
                // A command that is handed on as a variable stands as text elsewhere.
                let Some((command, _)) = call.strip_prefix('\'').and_then(|call| call.split_once('\'')) else {
                    continue;
                };
                assert!(asked.contains(command), "{} uses {command}", source.name);
            }
        }
    }
}
