use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::{ConnectionError, Timeouts};

const PORT: u16 = 6379;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Where a Redis is, and how to log in. Printing it never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: Address,
    user: Option<String>,
    password: Option<String>,
    db: u32,
}

#[derive(Clone, PartialEq, Eq)]
enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `redis://[user[:password]@]host[:port][/db]` or
    /// `redis+unix:///path[?db=N&user=U&pass=P]` (also `unix://`).
    pub fn parse(url: &str) -> Result<Self, ConnectionError> {
        let bad = |why: &str| ConnectionError::BadUrl { url: redacted(url), why: why.to_owned() };
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        match scheme {
            "redis" => parse_tcp(rest).map_err(bad),
            "redis+unix" | "unix" => parse_unix(rest).map_err(bad),
            "rediss" => Err(ConnectionError::NoTls { url: redacted(url) }),
            _ => Err(bad("its scheme is unknown")),
        }
    }

    /// Whether a password stands in it, which a command line should not show.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The form that the Redis crate wants.
    pub fn connection_info(&self, timeouts: &Timeouts) -> ConnectionInfo {
        let mut redis = RedisConnectionInfo::default()
            .set_db(i64::from(self.db))
            .set_lib_name("gristmill", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &self.user {
            redis = redis.set_username(user);
        }
        if let Some(password) = &self.password {
            redis = redis.set_password(password);
        }
        let address = match &self.address {
            Address::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
            Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
        };
        let info = match address.into_connection_info() {
            Ok(info) => info,
            Err(_) => unreachable!("an address always becomes a connection info"),
        };
        info.set_redis_settings(redis).set_tcp_settings(tcp_settings(timeouts))
    }
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

fn parse_tcp(rest: &str) -> Result<Endpoint, &'static str> {
    // The last '@' ends the login: a host has none, an unencoded password may.
    let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
    if rest.contains(['?', '#']) {
        return Err("parameters are not known for redis://");
    }
    let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = host_and_port(authority)?;
    let (user, password) = login.map_or(Ok((None, None)), parse_login)?;
    Ok(Endpoint { address: Address::Tcp { host, port }, user, password, db: parse_db(db)? })
}

fn host_and_port(authority: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("the ']' of the IPv6 address is missing")?;
        host.parse::<Ipv6Addr>().map_err(|_| "what stands in [] is no IPv6 address")?;
        (host, port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        if port.matches(':').count() > 1 {
            return Err("an IPv6 address must stand in []");
        }
        (host, port)
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        None => return Err("only a port may follow the ']'"),
        Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or("the port must be a number from 1 to 65535")?,
    };
    Ok((decoded(host)?, port))
}

fn parse_login(login: &str) -> Result<(Option<String>, Option<String>), &'static str> {
    let (user, password) = login.split_once(':').ok_or("the password is missing after the user (user:password@)")?;
    let user = if user.is_empty() { None } else { Some(decoded(user)?) };
    if password.is_empty() {
        return if user.is_none() { Ok((None, None)) } else { Err("the password is empty") };
    }
    Ok((user, Some(decoded(password)?)))
}

fn parse_unix(rest: &str) -> Result<Endpoint, &'static str> {
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() < 2 {
        return Err("an absolute path must follow, as in redis+unix:///run/redis.sock");
    }
    let address = Address::Unix(PathBuf::from(decoded(path)?));
    let mut endpoint = Endpoint { address, user: None, password: None, db: 0 };
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "db" => endpoint.db = parse_db(value)?,
            "user" => endpoint.user = Some(decoded(value)?),
            "pass" => endpoint.password = Some(decoded(value)?),
            _ => return Err("its parameters may only be db, user and pass"),
        }
    }
    Ok(endpoint)
}

fn parse_db(text: &str) -> Result<u32, &'static str> {
    let text = text.trim_end_matches('/');
    if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| "the database must be a number") }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    const BAD: &str = "a '%' must begin an encoded byte such as %25";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|&digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(BAD) };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| "its encoded bytes are not UTF-8")
}

/// Hides what may be a password in a URL that could not be read.
fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if url.contains("://") { "://" } else { "" };
    // Parameters first: a password may stand in them, and an '@' in the password.
    let (rest, parameters) = match rest.find(['?', '#', '&']) {
        Some(at) => (&rest[..at], format!("{}***", &rest[at..=at])),
        None => (rest, String::new()),
    };
    let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    format!("{scheme}{separator}{login}{}{parameters}", without_password(rest))
}

/// A password may stand where a port belongs if its '@' was forgotten, and it may hold a '/'.
fn without_password(rest: &str) -> String {
    let address = if rest.starts_with('[') { rest.find(']').unwrap_or(0) } else { 0 };
    let Some(colon) = rest[address..].find(':').map(|at| address + at) else { return rest.to_owned() };
    let authority = rest.find('/').unwrap_or(rest.len());
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let path = rest.get(authority + 1..).unwrap_or_default().trim_end_matches('/');
    if colon > authority || (is_number(&rest[colon + 1..authority]) && is_number(path)) {
        return rest.to_owned();
    }
    format!("{}:***", &rest[..colon])
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
            Address::Tcp { host, port } => {
                f.write_str("redis://")?;
                if self.has_password() {
                    write!(f, "{}:***@", self.user.as_deref().unwrap_or_default())?;
                }
                if host.contains(':') {
                    write!(f, "[{host}]:{port}")?
                } else {
                    write!(f, "{host}:{port}")?
                }
                if self.db != 0 { write!(f, "/{}", self.db) } else { Ok(()) }
            }
            Address::Unix(path) => {
                write!(f, "redis+unix://{}", path.display())?;
                if self.db != 0 { write!(f, "?db={}", self.db) } else { Ok(()) }
            }
        }
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
