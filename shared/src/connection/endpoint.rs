use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::route::Route;
use super::{ConnectionError, Timeouts, url};

const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Where a Redis is, and how to log in. Printing it never shows a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) address: Address,
    pub(super) login: Login,
    pub(super) db: u32,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(Node),
    Unix(PathBuf),
    /// These tell where the master is.
    Sentinels(Sentinels),
}

/// A server on the network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

#[derive(Clone)]
pub(super) struct Sentinels {
    pub(super) nodes: Vec<Node>,
    /// The name under which they watch the master.
    pub(super) service: String,
    /// How to log in at the sentinels; the master has a login of its own.
    pub(super) login: Login,
    /// Where they have led us.
    pub(super) route: Arc<Route>,
}

/// How to get to a server.
pub(super) enum Way<'a> {
    Straight(Box<ConnectionInfo>),
    Ask(&'a Sentinels),
}

impl Endpoint {
    /// Reads `redis://[user:password@]host[:port][/db]`, `redis+unix:///path[?db=N&user=U&pass=P]` (also
    /// `unix://`), or `redis+sentinel://[user:password@]host1[:port],host2[:port]/service[/db]`, where
    /// `?sentinel_user=U&sentinel_password=P` log in at the sentinels themselves.
    pub fn parse(url: &str) -> Result<Self, ConnectionError> {
        url::parse(url)
    }

    /// Whether a password stands in it, which a command line should not show.
    pub fn has_password(&self) -> bool {
        let at_sentinels = matches!(&self.address, Address::Sentinels(sentinels) if sentinels.login.password.is_some());
        self.login.password.is_some() || at_sentinels
    }

    /// How to get to it.
    pub(super) fn way(&self, timeouts: &Timeouts) -> Way<'_> {
        let address = match &self.address {
            Address::Tcp(node) => node.address(),
            Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
            Address::Sentinels(sentinels) => return Way::Ask(sentinels),
        };
        Way::Straight(Box::new(info(address, &self.login, self.db, timeouts)))
    }

    /// How to reach it where the sentinels say that the master is.
    pub(super) fn at(&self, node: &Node, timeouts: &Timeouts) -> ConnectionInfo {
        info(node.address(), &self.login, self.db, timeouts)
    }
}

impl Sentinels {
    /// How to reach one of them.
    pub(super) fn at(&self, node: &Node, timeouts: &Timeouts) -> ConnectionInfo {
        info(node.address(), &self.login, 0, timeouts)
    }
}

/// What they have told is no part of which they are.
impl PartialEq for Sentinels {
    fn eq(&self, other: &Self) -> bool {
        (&self.nodes, &self.service, &self.login) == (&other.nodes, &other.service, &other.login)
    }
}

impl Eq for Sentinels {}

impl Node {
    fn address(&self) -> ConnectionAddr {
        ConnectionAddr::Tcp(self.host.clone(), self.port)
    }
}

fn info(address: ConnectionAddr, login: &Login, db: u32, timeouts: &Timeouts) -> ConnectionInfo {
    let mut redis =
        RedisConnectionInfo::default().set_db(i64::from(db)).set_lib_name("gristmill", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &login.user {
        redis = redis.set_username(user);
    }
    if let Some(password) = &login.password {
        redis = redis.set_password(password);
    }
    let info = match address.into_connection_info() {
        Ok(info) => info,
        Err(_) => unreachable!("an address always becomes a connection info"),
    };
    info.set_redis_settings(redis).set_tcp_settings(tcp_settings(timeouts))
}

/// Small requests go out at once, and a peer that vanished is noticed on an idle connection, too.
fn tcp_settings(timeouts: &Timeouts) -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(timeouts.response);
    #[cfg(not(target_os = "linux"))]
    let _ = timeouts;
    settings
}

impl FromStr for Endpoint {
    type Err = ConnectionError;

    fn from_str(url: &str) -> Result<Self, ConnectionError> {
        Self::parse(url)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(node) => {
                write!(f, "redis://{}{node}", self.login)?;
                if self.db != 0 { write!(f, "/{}", self.db) } else { Ok(()) }
            }
            Address::Unix(path) => {
                write!(f, "redis+unix://{}", path.display())?;
                if self.db != 0 { write!(f, "?db={}", self.db) } else { Ok(()) }
            }
            Address::Sentinels(Sentinels { nodes, service, .. }) => {
                let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
                write!(f, "redis+sentinel://{}{}/{service}", self.login, nodes.join(","))?;
                if self.db != 0 { write!(f, "/{}", self.db) } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.password {
            Some(_) => write!(f, "{}:***@", self.user.as_deref().unwrap_or_default()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
