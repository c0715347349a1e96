//! A master, its replica, and three sentinels that watch them.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gristmill_embedded::{EmbeddedOptions, EmbeddedRedis, find_server};
use redis::{FromRedisValue, RedisConnectionInfo};
use tempfile::TempDir;

use crate::wait::eventually;

/// The name under which the sentinels know the master.
const SERVICE: &str = "main";
/// The servers' password, and the sentinels' own.
const PASSWORD: &str = "secret";
const SENTINEL_PASSWORD: &str = "watch&see";

/// All five servers, with passwords, on TCP ports of the loopback. Dropping it ends them.
#[derive(Debug)]
pub struct Sentinels {
    servers: [EmbeddedRedis; 2],
    sentinels: Vec<(Child, u16)>,
    _configs: TempDir,
}

impl Sentinels {
    /// Starts all, and waits until the sentinels know each other and the replica, and it has caught up. A master
    /// that is silent for a second is replaced.
    pub fn start() -> Self {
        let set_up = || {
            let options = EmbeddedOptions::new().tcp(true).requirepass(PASSWORD);
            options.extra("masterauth", PASSWORD).extra("repl-diskless-sync-delay", "0")
        };
        let master = set_up().start().expect("a master");
        let port = master.port().expect("it listens on TCP");
        let replica = set_up().extra("replicaof", format!("127.0.0.1 {port}")).start().expect("a replica");
        let configs = tempfile::tempdir().expect("a temporary directory");
        let sentinels = (0..3).map(|n| sentinel(configs.path(), n, port)).collect();
        let all = Self { servers: [master, replica], sentinels, _configs: configs };
        eventually("the replica has caught up", || all.info(1).contains("master_link_status:up").then_some(()));
        for (_, port) in &all.sentinels {
            eventually("the sentinels know each other and the replica", || {
                let words = ["SENTINEL", "MASTER", SERVICE];
                let known = ask::<HashMap<String, String>>(*port, SENTINEL_PASSWORD, &words)?;
                let count = |field: &str| known.get(field).map(String::as_str);
                (count("num-other-sentinels") == Some("2") && count("num-slaves") == Some("1")).then_some(())
            });
        }
        all
    }

    /// Where clients find the master by way of the sentinels. The first node that it names is not there.
    pub fn url(&self) -> String {
        let parameters = SENTINEL_PASSWORD.replace('&', "%26");
        format!("{}?sentinel_password={parameters}", self.url_without_login_at_sentinels())
    }

    /// The same without the sentinels' password.
    pub fn url_without_login_at_sentinels(&self) -> String {
        let nodes: Vec<_> = self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://:{PASSWORD}@127.0.0.1:1,{}/{SERVICE}", nodes.join(","))
    }

    /// The port that the sentinels call the master's.
    pub fn master_port(&self) -> u16 {
        eventually("a sentinel answers", || {
            let named = |(_, port): &(Child, u16)| {
                ask::<(String, u16)>(*port, SENTINEL_PASSWORD, &["SENTINEL", "get-master-addr-by-name", SERVICE])
            };
            self.sentinels.iter().find_map(named)
        })
        .1
    }

    /// The port of the server that began as replica.
    pub fn second_port(&self) -> u16 {
        self.servers[1].port().expect("it listens on TCP")
    }

    /// Waits until the replica has everything that the first master has written.
    pub fn wait_for_replica(&self) {
        let offset = |info: &str, field: &str| -> Option<u64> {
            info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok())
        };
        let wanted = offset(&self.info(0), "master_repl_offset:").expect("a master has an offset");
        eventually("the replica has it all", || (offset(&self.info(1), "slave_repl_offset:")? >= wanted).then_some(()));
    }

    /// Kills the first master as a power cut would.
    pub fn kill_master(&mut self) {
        self.servers[0].kill();
    }

    /// Has the sentinels replace the master, which is well: somebody wants to service its machine.
    pub fn fail_over(&self) {
        let words = ["SENTINEL", "FAILOVER", SERVICE];
        // Refused until a sentinel has heard lately of the replica.
        eventually("a sentinel begins", || ask::<()>(self.sentinels[0].1, SENTINEL_PASSWORD, &words));
    }

    /// Whether the server that began as replica has this key.
    pub fn second_has(&self, key: &str) -> bool {
        ask::<bool>(self.second_port(), PASSWORD, &["EXISTS", key]).unwrap_or(false)
    }

    /// Starts the first master again; the sentinels make it a replica.
    pub fn restart_first(&mut self) {
        self.servers[0].restart().expect("it starts again");
    }

    /// Waits until the server that began as replica is the master.
    pub fn wait_promoted(&self) {
        eventually("the replica is promoted", || self.info(1).contains("role:master").then_some(()));
    }

    fn info(&self, server: usize) -> String {
        let port = self.servers[server].port().expect("it listens on TCP");
        ask(port, PASSWORD, &["INFO", "replication"]).unwrap_or_default()
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for (sentinel, _) in &mut self.sentinels {
            // The shell ends what it has started once its standard input ends.
            drop(sentinel.stdin.take());
            let _ = sentinel.wait();
        }
    }
}

/// A sentinel, which ends with this process, however that ends.
fn sentinel(configs: &Path, n: usize, master: u16) -> (Child, u16) {
    let port = TcpListener::bind(("127.0.0.1", 0)).expect("a free port").local_addr().expect("its address").port();
    let directory = configs.join(format!("sentinel-{n}"));
    fs::create_dir(&directory).expect("a directory of its own");
    let config = directory.join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
         sentinel auth-pass {SERVICE} {PASSWORD}\nrequirepass \"{SENTINEL_PASSWORD}\"\n\
         sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 3000\n",
        directory.display()
    );
    fs::write(&config, text).expect("its configuration");
    let child = Command::new("sh")
        .args(["-c", "exec 3<&0; \"$0\" \"$1\" --sentinel </dev/null & read -r line <&3; kill -9 $!; wait"])
        .arg(find_server().expect("a server"))
        .arg(&config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    (child, port)
}

/// Asks one server; none if it does not answer as hoped.
fn ask<T: FromRedisValue>(port: u16, password: &str, words: &[&str]) -> Option<T> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("a valid URL");
    let login = RedisConnectionInfo::default().set_password(password);
    let client = redis::Client::open(client.get_connection_info().clone().set_redis_settings(login)).ok()?;
    let mut connection = client.get_connection_with_timeout(std::time::Duration::from_secs(1)).ok()?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).ok()
}
