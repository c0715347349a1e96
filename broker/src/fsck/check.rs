//! Evidence: small facts about keys which Redis can tell in one step, so that what is seen is never a mixture
//! of two moments.

use redis::aio::ConnectionLike;
use redis::{Pipeline, Value, from_redis_value};

use crate::error::BrokerError;

/// A fact.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Check {
    Present(String),
    Absent(String),
    /// It exists, and has no time to live.
    NoTtl(String),
    NotMember(String, Vec<u8>),
    Member(String, Vec<u8>),
    NotInSet(String, String),
    NoField(String, Vec<u8>),
    HasField(String, Vec<u8>),
    /// A field of a hash has this value; none: it is missing.
    Field(String, String, Option<Vec<u8>>),
    /// A string holds this.
    Holds(String, String),
}

impl Check {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Present(key)
            | Self::Absent(key)
            | Self::NoTtl(key)
            | Self::NotMember(key, _)
            | Self::Member(key, _)
            | Self::NotInSet(key, _)
            | Self::NoField(key, _)
            | Self::HasField(key, _)
            | Self::Field(key, ..)
            | Self::Holds(key, _) => key,
        }
    }

    fn ask(&self, pipe: &mut Pipeline) {
        match self {
            Self::Present(key) | Self::Absent(key) => pipe.cmd("EXISTS").arg(key),
            Self::NoTtl(key) => pipe.cmd("PTTL").arg(key),
            Self::NotMember(key, member) | Self::Member(key, member) => pipe.cmd("ZSCORE").arg(key).arg(member),
            Self::NotInSet(key, member) => pipe.cmd("SISMEMBER").arg(key).arg(member),
            Self::NoField(key, field) | Self::HasField(key, field) => pipe.cmd("HEXISTS").arg(key).arg(field),
            Self::Field(key, field, _) => pipe.cmd("HGET").arg(key).arg(field),
            Self::Holds(key, _) => pipe.cmd("GET").arg(key),
        };
    }

    fn holds(&self, answer: Value) -> bool {
        let number = |answer: Value| from_redis_value::<i64>(answer).unwrap_or(i64::MIN);
        match self {
            Self::Present(_) | Self::HasField(..) => number(answer) == 1,
            Self::Absent(_) | Self::NotInSet(..) | Self::NoField(..) => number(answer) == 0,
            Self::NoTtl(_) => number(answer) == -1,
            Self::NotMember(..) => answer == Value::Nil,
            Self::Member(..) => answer != Value::Nil,
            Self::Field(_, _, value) => from_redis_value::<Option<Vec<u8>>>(answer).is_ok_and(|found| found == *value),
            Self::Holds(_, text) => {
                from_redis_value::<Option<String>>(answer).is_ok_and(|found| found.as_ref() == Some(text))
            }
        }
    }
}

/// Whether all of them hold at one moment.
pub(super) async fn all_hold<C: ConnectionLike>(conn: &mut C, checks: &[Check]) -> Result<bool, BrokerError> {
    let mut pipe = redis::pipe();
    pipe.atomic();
    hold(conn, pipe, checks).await
}

/// Whether all of them hold; the next transaction fails if that changes before it runs.
pub(super) async fn watched_hold<C: ConnectionLike>(conn: &mut C, checks: &[Check]) -> Result<bool, BrokerError> {
    let keys: Vec<_> = checks.iter().map(Check::key).collect();
    let _: () = redis::cmd("WATCH").arg(keys).query_async(conn).await?;
    hold(conn, redis::pipe(), checks).await
}

async fn hold<C: ConnectionLike>(conn: &mut C, mut pipe: Pipeline, checks: &[Check]) -> Result<bool, BrokerError> {
    for check in checks {
        check.ask(&mut pipe);
    }
    match pipe.query_async::<Vec<Value>>(conn).await.map_err(BrokerError::from) {
        Ok(answers) => Ok(checks.iter().zip(answers).all(|(check, answer)| check.holds(answer))),
        // A key of another type is reported as such, and says nothing about the others.
        Err(BrokerError::WrongType(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
