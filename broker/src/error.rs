//! What can go wrong between the broker and Redis.

use gristmill_shared::codec::CodecError;
use gristmill_shared::connection::{first_error, is_connection_lost, is_demoted, is_not_ready};
use redis::RedisError;

/// Why an operation failed. Outcomes that belong to the protocol (a lost lease, a full queue) are no errors.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Redis could not be reached, or refused.
    #[error("Redis: {0}; see that it runs, can be reached, and lets this user in")]
    Redis(RedisError),
    /// Redis refuses writes because it is at its memory limit.
    #[error("Redis is at its memory limit and refuses writes: raise maxmemory, or wait until results expire")]
    OutOfMemory,
    /// A key holds another type than ours: somebody else writes into the namespace.
    #[error(
        "a key of this namespace has a type that Gristmill did not give it ({0}): use a namespace of its own, or delete the key"
    )]
    WrongType(String),
    /// A value cannot be encoded, or is over its limit.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A script refused the call, or answered what makes no sense: a bug, or a foreign hand in the keys.
    #[error(
        "the script {script} refused: {what}; `gristmill fsck` tells whether the keys are in order, else please report it"
    )]
    Refused {
        /// The script.
        script: &'static str,
        /// Its words.
        what: String,
    },
}

impl BrokerError {
    pub(crate) fn refused(script: &'static str, what: impl Into<String>) -> Self {
        Self::Refused { script, what: what.into() }
    }

    /// The connection is broken or in doubt: drop it, and repeat the identical call on a new one.
    pub fn is_connection(&self) -> bool {
        match self {
            Self::Redis(error) => is_connection_lost(error) || error.is_connection_dropped(),
            _ => false,
        }
    }

    /// Repeating the identical call later can help: the connection broke, or Redis is busy, loading,
    /// or being replaced.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Redis(error) => self.is_connection() || is_not_ready(error),
            Self::OutOfMemory => true,
            _ => false,
        }
    }

    /// A new connection may lead to another server (a fail-over happened).
    pub fn wants_new_connection(&self) -> bool {
        self.is_connection() || matches!(self, Self::Redis(error) if is_demoted(error))
    }

    /// No answer came in time. Of a call that was sent it is not known whether it ran.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_timeout())
    }
}

impl From<RedisError> for BrokerError {
    fn from(error: RedisError) -> Self {
        let error = first_error(error);
        let detail = error.detail().unwrap_or_default();
        // Inside a script, Redis 6.2 wraps the error of a command into one of the script's own.
        let says = |word: &str| error.code() == Some(word) || detail.contains(word);
        if says("OOM") {
            return Self::OutOfMemory;
        }
        if says("WRONGTYPE") {
            // Which line of which script met it tells nobody anything.
            let what = detail.split(" script: ").next().unwrap_or_default();
            return Self::WrongType(what.to_owned());
        }
        Self::Redis(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do() {
        let of_redis = |text: &'static str| BrokerError::from(RedisError::from((redis::ErrorKind::Io, text)));
        let codec = gristmill_shared::codec::check_size("the argument", 2, 1).unwrap_err();
        let wrong_type = BrokerError::WrongType("WRONGTYPE".into());
        let refused = BrokerError::refused("claim", "no");
        for error in [of_redis("gone"), BrokerError::OutOfMemory, wrong_type, codec.into(), refused] {
            // A new variant does not compile until it is here, and above.
            let advice = match error {
                BrokerError::Redis(_) => "; see that it runs",
                BrokerError::OutOfMemory => ": raise maxmemory",
                BrokerError::WrongType(_) => ": use a namespace of its own",
                BrokerError::Codec(_) => "; make it smaller",
                BrokerError::Refused { .. } => "; `gristmill fsck` tells",
            };
            assert!(error.to_string().contains(advice), "{error}");
        }
    }

    #[test]
    fn only_bytes_against_the_protocol_are_a_lost_connection() {
        let garbled = BrokerError::from(redis::parse_redis_value(b"?what\r\n").unwrap_err());
        assert!(garbled.is_connection() && garbled.is_retryable() && garbled.wants_new_connection(), "{garbled}");
        let shapes = [
            redis::from_redis_value::<u64>(redis::Value::Nil).map(drop),
            redis::from_redis_value::<u64>(redis::Value::BulkString(b"no number".to_vec())).map(drop),
            redis::from_redis_value::<String>(redis::Value::BulkString(vec![0xff])).map(drop),
            redis::from_redis_value::<(u64, u64)>(redis::Value::Array(vec![])).map(drop),
        ];
        for shape in shapes {
            let unexpected = BrokerError::from(RedisError::from(shape.unwrap_err()));
            assert!(!unexpected.is_connection() && !unexpected.is_retryable(), "{unexpected}");
            assert!(!unexpected.wants_new_connection());
        }
    }

    #[test]
    fn a_full_disk_under_redis_is_waited_for() {
        let said = redis::parse_redis_value(b"-MISCONF Errors writing to the AOF file: No space left on device\r\n");
        let Ok(redis::Value::ServerError(error)) = said else { panic!("an error reply") };
        let error = BrokerError::from(RedisError::from(error));
        assert!(error.is_retryable() && !error.wants_new_connection(), "{error}");
    }
}
