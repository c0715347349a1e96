use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError};

use super::Endpoint;
use super::endpoint::Node;

/// Why there is no connection. Every message is one line, and none shows a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The URL makes no sense.
    #[error(
        "{url} is not a Redis URL: {why} (expected redis://[user:password@]host[:port][/db], redis+unix:///path or \
         redis+sentinel://host,host/service)"
    )]
    BadUrl {
        /// The URL, without what may be a password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// TLS is asked for.
    #[error("{url} asks for TLS, which this build does not have: use redis://, or a TLS tunnel")]
    NoTls {
        /// The URL, without what may be a password.
        url: String,
    },
    /// Nobody answers there (for now).
    #[error("cannot reach Redis at {endpoint}: {why}; start it or pass --redis URL")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// Redis answers, but cannot work yet.
    #[error("Redis at {endpoint} is not ready: {why}; wait and try again")]
    NotReady {
        /// Where.
        endpoint: String,
        /// What it said.
        why: String,
    },
    /// Redis demands a password and none was given.
    #[error("Redis at {endpoint} demands a password: put it into the URL (redis://:PASSWORD@host) in GRISTMILL_REDIS")]
    PasswordNeeded {
        /// Where.
        endpoint: String,
    },
    /// Redis does not accept the user or the password.
    #[error("Redis at {endpoint} refuses the user or the password: check the URL")]
    WrongPassword {
        /// Where.
        endpoint: String,
    },
    /// Redis refuses for another reason.
    #[error("Redis at {endpoint} refuses: {why}")]
    Refused {
        /// Where.
        endpoint: String,
        /// What it said.
        why: String,
    },
}

impl ConnectionError {
    /// Whether trying again with the same URL may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotReady { .. })
    }

    /// What an error of the Redis crate means at this endpoint.
    pub fn of(endpoint: &Endpoint, error: &RedisError) -> Self {
        let (endpoint, error) = (endpoint.to_string(), &first_error(error.clone()));
        if error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("WRONGPASS") {
            return Self::WrongPassword { endpoint };
        }
        if error.code() == Some("NOAUTH") {
            return Self::PasswordNeeded { endpoint };
        }
        if is_not_ready(error) {
            return Self::NotReady { endpoint, why: said(error) };
        }
        if error.code() == Some("ERR") && said(error).contains("max number of clients") {
            return Self::NotReady { endpoint, why: said(error) };
        }
        match io_cause(error) {
            Some(cause) => Self::Unreachable { endpoint, why: plain(cause) },
            None if is_connection_lost(error) => Self::Unreachable { endpoint, why: said(error) },
            None => Self::Refused { endpoint, why: said(error) },
        }
    }

    /// The same for a sentinel, whose login is not that of its master.
    pub(super) fn of_sentinel(node: &Node, error: &RedisError) -> Self {
        let endpoint = format!("the sentinel {node}");
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => Self::Refused {
                endpoint,
                why: "it demands another password (?sentinel_password=... at the end of the URL)".to_owned(),
            },
            _ => Self::Unreachable { endpoint, why: io_cause(error).map_or_else(|| said(error), plain) },
        }
    }

    #[cfg(feature = "results")]
    pub(crate) fn closed(endpoint: &Endpoint) -> Self {
        Self::Unreachable { endpoint: endpoint.to_string(), why: "it closed the connection".to_owned() }
    }

    pub(crate) fn no_answer(endpoint: &Endpoint, within: Duration) -> Self {
        Self::Unreachable { endpoint: endpoint.to_string(), why: format!("no answer within {within:?}") }
    }
}

/// Whether the connection is of no use any more: drop it and repeat the identical call on a new one.
pub fn is_connection_lost(error: &RedisError) -> bool {
    error.is_io_error() || is_garbled(error)
}

/// Whether the bytes of an answer broke the rules of the protocol. The Redis crate gives the same kind to an answer
/// in a shape that nobody expected (a foreign hand in a key), which the next connection would not cure.
fn is_garbled(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Parse && error.detail().is_some_and(|detail| detail.starts_with("Parse error at "))
}

/// Whether Redis said that it cannot do this now, but will later: loading, failing over, busy with a script,
/// without room on its disk, or without the replicas that it needs.
pub fn is_not_ready(error: &RedisError) -> bool {
    const LATER: [&str; 8] =
        ["BUSY", "LOADING", "MASTERDOWN", "TRYAGAIN", "READONLY", "CLUSTERDOWN", "MISCONF", "NOREPLICAS"];
    first_error(error.clone()).code().is_some_and(|code| LATER.contains(&code))
}

/// Whether this server may not be the one to write to any more: a replica, or a master whom its replicas have left
/// for another.
pub fn is_demoted(error: &RedisError) -> bool {
    first_error(error.clone()).code().is_some_and(|code| ["READONLY", "MASTERDOWN", "NOREPLICAS"].contains(&code))
}

/// Of the errors of a pipeline, the first: together they have neither code nor words for people. And what a command
/// inside of a script said, which Redis 6.2 wraps into an error of the script.
pub fn first_error(error: RedisError) -> RedisError {
    if let Some(("ERR", detail)) = error.code().zip(error.detail())
        && let Some((_, inner)) = detail.strip_prefix("Error running script").and_then(|rest| rest.split_once(": -"))
        && let Ok(redis::Value::ServerError(inner)) = redis::parse_redis_value(format!("-{inner}\r\n").as_bytes())
    {
        return inner.into();
    }
    if error.code().is_some() {
        return error;
    }
    let first = error.clone().into_server_errors().and_then(|errors| errors.first().map(|(_, first)| first.clone()));
    first.map_or(error, RedisError::from)
}

fn io_cause(error: &RedisError) -> Option<&io::Error> {
    // The Redis crate hands out its cause inside an Arc.
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref()
}

/// What Redis said, in one line.
fn said(error: &RedisError) -> String {
    error.detail().map_or_else(|| error.to_string(), str::to_owned).replace(['\r', '\n'], " ")
}

fn plain(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted => "it closed the connection".to_owned(),
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> RedisError {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
            Ok(redis::Value::ServerError(error)) => error.into(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_a_command_inside_of_a_script_said_is_heard() {
        let plain = reply("READONLY You can't write against a read only replica. script: f_1, on @user_script:1.");
        let wrapped = "ERR Error running script (call to f_1): @user_script:12: -READONLY You can't write against a \
                       read only replica.";
        for error in [plain, reply(wrapped)] {
            assert!(is_not_ready(&error) && is_demoted(&error), "{error}");
        }
        let own = reply("ERR Error running script (call to f_1): @user_script:12: user_script:12: a nil value");
        assert!(!is_not_ready(&own) && first_error(own).code() == Some("ERR"));
    }

    #[test]
    fn a_master_without_its_replicas_may_have_a_successor() {
        let error = reply("NOREPLICAS Not enough good replicas to write.");
        assert!(is_not_ready(&error) && is_demoted(&error));
        let disk = reply("MISCONF Errors writing to the AOF file: No space left on device");
        assert!(is_not_ready(&disk) && !is_demoted(&disk));
        assert!(!is_not_ready(&reply("ERR unknown command")) && !is_not_ready(&reply("NOPERM no permissions")));
    }
}
