//! The connection of a command.

use std::time::Duration;

use gristmill::Client;
use gristmill::shared::connection::Endpoint;
use gristmill::shared::defaults::CLI_REACH;

use crate::args::Global;
use crate::exit::Exit;
use crate::say;

/// How long a command goes on trying when a connection breaks that stood already: a restart or a fail-over
/// takes longer than it takes to see that a URL is wrong.
const PATIENCE: Duration = Duration::from_secs(15);

/// Connects; tries for 5 s.
pub async fn connect(global: &Global) -> Result<Client, Exit> {
    let endpoint = Endpoint::parse(&global.redis).map_err(gristmill::ClientError::from)?;
    if endpoint.has_password() && std::env::args_os().any(|arg| arg.as_encoded_bytes().starts_with(b"--redis")) {
        say!(
            "gristmill: warning: everybody on this machine can read a password on the command line; use GRISTMILL_REDIS"
        );
    }
    let client =
        Client::builder().endpoint(&global.redis).namespace(&global.namespace).reach(CLI_REACH).patience(PATIENCE);
    Ok(client.connect().await?)
}
