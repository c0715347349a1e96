//! Reads URLs, and hides what may be a password in those that cannot be read.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::ConnectionError;
use super::endpoint::{Address, Endpoint, Login, Node, Sentinels};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

pub(super) fn parse(url: &str) -> Result<Endpoint, ConnectionError> {
    let bad = |why: &str| ConnectionError::BadUrl { url: redacted(url), why: why.to_owned() };
    let (scheme, rest) = url.trim().split_once("://").ok_or_else(|| bad("it has no scheme"))?;
    match scheme {
        "redis" => parse_tcp(rest).map_err(bad),
        "redis+unix" | "unix" => parse_unix(rest).map_err(bad),
        "redis+sentinel" => parse_sentinel(rest).map_err(bad),
        "rediss" => Err(ConnectionError::NoTls { url: redacted(url) }),
        _ => Err(bad("its scheme is unknown")),
    }
}

fn parse_tcp(rest: &str) -> Result<Endpoint, &'static str> {
    // The last '@' ends the login: a host has none, an unencoded password may.
    let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
    if rest.contains(['?', '#']) {
        return Err("parameters are not known for redis://");
    }
    let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
    let address = Address::Tcp(node(authority, PORT)?);
    let login = login.map_or(Ok(Login::default()), parse_login)?;
    Ok(Endpoint { address, login, db: parse_db(db)? })
}

fn parse_sentinel(rest: &str) -> Result<Endpoint, &'static str> {
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let nodes = authority.split(',').map(|text| node(text, SENTINEL_PORT)).collect::<Result<Vec<_>, _>>()?;
    let (service, db) = path.split_once('/').unwrap_or((path, ""));
    if service.is_empty() {
        return Err("the name of the master must follow, as in redis+sentinel://host1,host2/mymaster");
    }
    let (login_there, route) = Default::default();
    let mut sentinels = Sentinels { nodes, service: decoded(service)?, login: login_there, route };
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "sentinel_user" => sentinels.login.user = Some(decoded(value)?),
            "sentinel_password" => sentinels.login.password = Some(decoded(value)?),
            _ => return Err("its parameters may only be sentinel_user and sentinel_password"),
        }
    }
    let login = login.map_or(Ok(Login::default()), parse_login)?;
    Ok(Endpoint { address: Address::Sentinels(sentinels), login, db: parse_db(db)? })
}

fn node(authority: &str, default_port: u16) -> Result<Node, &'static str> {
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
        None if port.is_empty() => default_port,
        None => return Err("only a port may follow the ']'"),
        Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or("the port must be a number from 1 to 65535")?,
    };
    Ok(Node { host: decoded(host)?, port })
}

fn parse_login(login: &str) -> Result<Login, &'static str> {
    let (user, password) = login.split_once(':').ok_or("the password is missing after the user (user:password@)")?;
    let user = if user.is_empty() { None } else { Some(decoded(user)?) };
    if password.is_empty() {
        return if user.is_none() { Ok(Login::default()) } else { Err("the password is empty") };
    }
    Ok(Login { user, password: Some(decoded(password)?) })
}

fn parse_unix(rest: &str) -> Result<Endpoint, &'static str> {
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() < 2 {
        return Err("an absolute path must follow, as in redis+unix:///run/redis.sock");
    }
    let address = Address::Unix(PathBuf::from(decoded(path)?));
    let mut endpoint = Endpoint { address, login: Login::default(), db: 0 };
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "db" => endpoint.db = parse_db(value)?,
            "user" => endpoint.login.user = Some(decoded(value)?),
            "pass" => endpoint.login.password = Some(decoded(value)?),
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
