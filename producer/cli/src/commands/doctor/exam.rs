//! What the checks share: the connection, what Redis says of itself, and the lines that they write.

use std::collections::BTreeMap;

use gristmill::ClientError;
use gristmill::WorkerRecord;
use gristmill::shared::connection::{ConnectionError, Endpoint, Link};
use gristmill_broker::{Broker, BrokerError};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};

use crate::exit::Exit;
use crate::session::refused;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    Warning,
    Error,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What one check has to say.
pub struct Line {
    pub check: &'static str,
    pub level: Level,
    pub found: String,
    pub advice: Option<String>,
}

/// An examination.
pub struct Exam<'a> {
    pub conn: &'a mut MultiplexedConnection,
    pub broker: &'a Broker,
    pub endpoint: Endpoint,
    /// What INFO says.
    info: BTreeMap<String, String>,
    /// Filled by the check of the workers.
    pub workers: Vec<WorkerRecord>,
    pub lines: Vec<Line>,
}

impl<'a> Exam<'a> {
    pub async fn begin(link: &'a mut Link, broker: &'a Broker) -> Result<Self, Exit> {
        let endpoint = link.endpoint().clone();
        let conn = link.connection().await.map_err(ClientError::from)?;
        let mut exam = Self { conn, broker, endpoint, info: BTreeMap::new(), workers: Vec::new(), lines: Vec::new() };
        if let Some(text) = exam.ask::<String>(redis::cmd("INFO").arg("all")).await? {
            let fields = text.lines().filter_map(|line| line.split_once(':'));
            exam.info = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        }
        Ok(exam)
    }

    pub fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.lines.push(Line { check, level: Level::Ok, found: found.into(), advice: None });
    }

    pub fn warning(&mut self, check: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        let advice = Some(advice.into());
        self.lines.push(Line { check, level: Level::Warning, found: found.into(), advice });
    }

    pub fn error(&mut self, check: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        let advice = Some(advice.into());
        self.lines.push(Line { check, level: Level::Error, found: found.into(), advice });
    }

    /// A field of INFO; empty if there is none.
    pub fn info(&self, field: &str) -> &str {
        self.info.get(field).map_or("", String::as_str)
    }

    pub fn info_number(&self, field: &str) -> Option<u64> {
        self.info(field).parse().ok()
    }

    /// The answer; none if Redis refuses it, for instance because we may not ask that. A broken connection ends
    /// the examination.
    pub async fn ask<T: FromRedisValue>(&mut self, command: &mut Cmd) -> Result<Option<T>, Exit> {
        match command.query_async(self.conn).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => self.refusal(error).map(|_| None),
        }
    }

    /// A parameter of the configuration; none if we may not ask.
    pub async fn config(&mut self, name: &str) -> Result<Option<String>, Exit> {
        let answer: Option<Vec<String>> = self.ask(redis::cmd("CONFIG").arg("GET").arg(name)).await?;
        Ok(answer.and_then(|pair| pair.into_iter().nth(1)))
    }

    /// Says that a check could not be made.
    pub fn unknown(&mut self, check: &'static str, what: &str) {
        self.warning(check, format!("Redis does not tell: {what}"), "ask with a user that may, or whoever runs Redis");
    }

    /// What Redis refused, in its words; an error if the connection broke.
    pub fn refusal(&self, error: RedisError) -> Result<String, Exit> {
        match BrokerError::from(error) {
            error if error.is_connection() => Err(self.broken(error)),
            error => Ok(error.to_string()),
        }
    }

    /// The same for a call of the broker.
    pub fn result<T>(&self, answer: Result<T, BrokerError>) -> Result<Result<T, String>, Exit> {
        match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) if error.is_connection() => Err(self.broken(error)),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn broken(&self, error: BrokerError) -> Exit {
        match error {
            BrokerError::Redis(error) => ClientError::from(ConnectionError::of(&self.endpoint, &error)).into(),
            error => refused(error),
        }
    }
}
