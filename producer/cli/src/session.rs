//! The connection of a command.

use std::time::Duration;

use gristmill::Client;
use gristmill::shared::Namespace;
use gristmill::shared::connection::{Endpoint, Link, Timeouts};
use gristmill::shared::defaults::CLI_REACH;
use gristmill_broker::{Broker, BrokerError};

use crate::args::Global;
use crate::exit::Exit;
use crate::say;

/// How long a command goes on trying when a connection breaks that stood already: a restart or a fail-over
/// takes longer than it takes to see that a URL is wrong. Sentinels alone wait for half a minute, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects; tries for 5 s.
pub async fn connect(global: &Global) -> Result<Client, Exit> {
    endpoint(global)?;
    let client =
        Client::builder().endpoint(&global.redis).namespace(&global.namespace).reach(CLI_REACH).patience(PATIENCE);
    Ok(client.connect().await?)
}

/// A connection of the command's own, without a client: for commands that look at Redis itself.
pub async fn direct(global: &Global) -> Result<(Link, Broker), Exit> {
    let endpoint = endpoint(global)?;
    let namespace = Namespace::new(global.namespace.as_str()).map_err(gristmill::ClientError::from)?;
    let mut link = Link::new(endpoint, Timeouts::default());
    link.reach(CLI_REACH).await.map_err(gristmill::ClientError::from)?;
    Ok((link, Broker::new(&namespace)))
}

/// Redis did not do what it was asked.
pub fn refused(error: BrokerError) -> Exit {
    let code = match &error {
        BrokerError::OutOfMemory => Exit::REFUSED,
        BrokerError::Refused { .. } => Exit::BUG,
        _ => Exit::REDIS,
    };
    Exit::new(code, error.to_string())
}

fn endpoint(global: &Global) -> Result<Endpoint, Exit> {
    let endpoint = Endpoint::parse(&global.redis).map_err(gristmill::ClientError::from)?;
    if endpoint.has_password() && std::env::args_os().any(|arg| arg.as_encoded_bytes().starts_with(b"--redis")) {
        say!(
            "gristmill: warning: everybody on this machine can read a password on the command line; use GRISTMILL_REDIS"
        );
    }
    Ok(endpoint)
}
