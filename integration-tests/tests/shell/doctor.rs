//! `gristmill doctor` against servers that are set up badly.

use gristmill_embedded::{AppendOnly, EmbeddedOptions};
use gristmill_integration_tests::{Cli, Output, Redis, WorkerOptions, eventually};
use serde_json::Value;

use crate::fake_server::FakeServer;
use crate::rig::{assert_for_people, assert_says, error};

/// What a doctor says.
struct Verdict {
    code: i32,
    lines: Vec<Value>,
}

impl Verdict {
    fn of(output: &Output) -> Self {
        assert_for_people(&output.stdout);
        let lines = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stderr));
        Self { code: output.code, lines }
    }

    /// Level and text of the first line of this check that is not ok, else of its only line.
    fn line(&self, check: &str) -> (&str, String) {
        let all: Vec<_> = self.lines.iter().filter(|line| line["check"] == check).collect();
        let worst = all.iter().find(|line| line["level"] != "ok").or(all.first());
        let line = worst.unwrap_or_else(|| panic!("nothing about {check}: {:?}", self.lines));
        assert_eq!(line["level"] == "ok", line["advice"].is_null(), "who complains says what to do: {line}");
        (line["level"].as_str().unwrap(), format!("{} {}", line["found"], line["advice"]))
    }

    #[track_caller]
    fn assert(&self, check: &str, level: &str, says: &[&str]) {
        let (found, text) = self.line(check);
        assert_eq!(found, level, "{check}: {text}");
        assert_says(&text, says);
    }

    #[track_caller]
    fn assert_all_ok(&self) {
        let bad: Vec<_> = self.lines.iter().filter(|line| line["level"] != "ok").collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

fn examine(redis: &Redis) -> Verdict {
    Verdict::of(&Cli::new(redis).run(&["doctor", "--json"]))
}

const CHECKS: [&str; 18] = [
    "version",
    "role",
    "cluster",
    "persistence",
    "eviction",
    "memory",
    "clock",
    "latency",
    "slow scripts",
    "timeout",
    "tcp-keepalive",
    "rights",
    "scripts",
    "workers",
    "maxclients",
    "kernels",
    "queues",
    "leftovers",
];

#[test]
fn a_sound_set_up_has_nothing_to_complain_about() {
    let options = EmbeddedOptions::new().appendonly(AppendOnly::EverySecond).maxmemory(1 << 30);
    let mut redis = Redis::special(options);
    let _worker = WorkerOptions::new().consumers(2).start(&redis);
    eventually("the worker's kernels", || (redis.command::<u64>("HLEN {gm}:kernels") > 0).then_some(()));
    let cli = Cli::new(&redis);
    let strict = cli.run(&["doctor", "--strict", "--json"]);
    let verdict = Verdict::of(&strict);
    verdict.assert_all_ok();
    assert_eq!((strict.code, strict.stderr.as_str()), (0, "all is well\n"));
    let checks: Vec<_> = verdict.lines.iter().map(|line| line["check"].as_str().unwrap()).collect();
    assert_eq!(checks, CHECKS);
    verdict.assert("workers", "ok", &["1 with 2 consumers"]);
    let table = cli.run(&["doctor"]).ok();
    assert_says(&table, &["CHECK", "persistence", "up to about 2 s are lost"]);
    let keys = redis.matching("*");
    cli.run(&["doctor"]).ok();
    assert_eq!(redis.matching("*"), keys, "it leaves nothing");
}

#[test]
fn a_server_that_forgets() {
    let mut redis = Redis::start();
    let verdict = examine(&redis);
    verdict.assert("persistence", "warning", &["when Redis ends, everything is lost", "appendonly yes"]);
    verdict.assert("memory", "warning", &["no limit", "set maxmemory"]);
    verdict.assert("workers", "warning", &["none", "gristmill-worker"]);
    verdict.assert("kernels", "warning", &["start a worker"]);
    assert_eq!(verdict.code, 0, "warnings do not fail");
    assert_eq!(Cli::new(&redis).run(&["doctor", "--strict"]).code, 1);
    let mut save = redis::cmd("CONFIG");
    let _: () = save.arg("SET").arg("save").arg("3600 1").query(&mut redis.connect()).unwrap();
    examine(&redis).assert("persistence", "warning", &["since the last one"]);
    for (fsync, level) in [("no", "warning"), ("always", "ok")] {
        redis.command::<()>("CONFIG SET appendonly yes");
        redis.command::<()>(&format!("CONFIG SET appendfsync {fsync}"));
        examine(&redis).assert("persistence", level, &["append-only file"]);
    }
}

#[test]
fn a_server_that_deletes_what_it_likes() {
    let mut redis = Redis::start();
    redis.command::<()>("CONFIG SET maxmemory-policy allkeys-lru");
    let verdict = examine(&redis);
    verdict.assert("eviction", "warning", &["allkeys-lru"]);
    assert_eq!(verdict.code, 0);
    redis.command::<()>("CONFIG SET maxmemory 1gb");
    for policy in ["allkeys-lru", "volatile-ttl"] {
        redis.command::<()>(&format!("CONFIG SET maxmemory-policy {policy}"));
        let verdict = examine(&redis);
        verdict.assert("eviction", "error", &[policy, "deletes tasks and results", "maxmemory-policy noeviction"]);
        assert_eq!(verdict.code, 1);
    }
}

#[test]
fn a_server_that_is_nearly_full() {
    let mut redis = Redis::start();
    let info: String = redis.command("INFO memory");
    let used: u64 = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    redis.command::<()>(&format!("CONFIG SET maxmemory {}", used * 10 / 7));
    let verdict = examine(&redis);
    verdict.assert("memory", "warning", &["raise maxmemory"]);
    assert_eq!(verdict.code, 0);
    redis.command::<()>(&format!("CONFIG SET maxmemory {}", used * 10 / 9));
    let verdict = examine(&redis);
    verdict.assert("memory", "error", &["refuse to submit", "80 %"]);
    assert_eq!(verdict.code, 1);
}

#[test]
fn a_server_that_is_too_old() {
    let server = FakeServer::start("5.0.7");
    let verdict = Verdict::of(&Cli::at(&server.url()).run(&["doctor", "--json"]));
    verdict.assert("version", "error", &["5.0.7", "6.2"]);
    assert_eq!((verdict.lines.len(), verdict.code), (1, 1));
}

/// A server with a clock of its own, which knows hardly any command.
#[test]
fn a_server_that_tells_nothing() {
    let server = FakeServer::start("7.0.0");
    let verdict = Verdict::of(&Cli::at(&server.url()).run(&["doctor", "--json"]));
    verdict.assert("clock", "warning", &["ahead of Redis", "NTP"]);
    verdict.assert("role", "warning", &["does not tell"]);
    verdict.assert("scripts", "error", &["cannot be loaded"]);
    assert_eq!(verdict.code, 1);
}

#[test]
fn a_server_that_takes_few_clients() {
    let mut redis = Redis::special(EmbeddedOptions::new().extra("maxclients", "30"));
    examine(&redis).assert("maxclients", "warning", &["30; ", "maxclients 1000"]);
    // A worker, as it publishes itself.
    let consumer = "0190000000007000800000000000000a";
    redis.command::<u64>(&format!("ZADD {{gm}}:leases 9000000000000 {consumer}"));
    redis.command::<u64>(&format!("HSET {{gm}}:consumer:{consumer} op 0 settled 0 worker w"));
    redis.command::<u64>("HSET {gm}:worker:w consumers 16 version 1 queues default");
    let verdict = examine(&redis);
    verdict.assert("maxclients", "error", &["16 consumers need 33"]);
    assert_eq!(verdict.code, 1);
}

#[test]
fn a_user_without_rights() {
    let mut redis = Redis::tcp();
    let at = |user: &str| Cli::at(&redis.url().replace("redis://", &format!("redis://{user}:secret@")));
    let users = ["narrow", "elsewhere", "modest"].map(at);
    redis.command::<()>("ACL SETUSER narrow on >secret ~{gm}:* &* +@all -hset -evalsha");
    redis.command::<()>("ACL SETUSER elsewhere on >secret ~{other}:* &* +@all");
    redis.command::<()>("ACL SETUSER modest on >secret ~{gm}:* &* +@all -config -slowlog -memory");
    let [narrow, elsewhere, modest] = users.map(|cli| Verdict::of(&cli.run(&["doctor", "--json"])));
    narrow.assert("rights", "error", &["the user narrow may not call EVALSHA, HSET", "ACL SETUSER", "{gm}:*"]);
    narrow.assert("scripts", "error", &["do not run"]);
    assert_eq!(narrow.code, 1);
    elsewhere.assert("rights", "error", &["LPUSH", "BLPOP"]);
    modest.assert("rights", "warning", &["MEMORY, CONFIG, SLOWLOG", "fsck"]);
    modest.assert("timeout", "warning", &["does not tell"]);
    assert_eq!(modest.code, 0);
}

#[test]
fn a_replica_takes_no_writes() {
    let master = Redis::tcp();
    let mut redis = Redis::tcp();
    let port = master.url().rsplit_once(':').unwrap().1.to_owned();
    redis.command::<()>(&format!("REPLICAOF 127.0.0.1 {port}"));
    eventually("it follows", || redis.command::<String>("INFO replication").contains("link_status:up").then_some(()));
    let verdict = examine(&redis);
    verdict.assert("role", "error", &[&port, "connect to the master"]);
    assert_eq!(verdict.code, 1);
    examine(&master).assert("role", "ok", &["one replica"]);
}

#[test]
fn connections_that_nobody_keeps() {
    let mut redis = Redis::start();
    redis.command::<()>("CONFIG SET timeout 5");
    redis.command::<()>("CONFIG SET tcp-keepalive 0");
    let verdict = examine(&redis);
    verdict.assert("timeout", "warning", &["5 s", "timeout 0"]);
    verdict.assert("tcp-keepalive", "warning", &["tcp-keepalive 300"]);
}

#[test]
fn scripts_that_take_long() {
    let mut redis = Redis::start();
    let mut load = redis::cmd("SCRIPT");
    let busy = "local until_us = redis.call('TIME') until_us = until_us[1] * 1e6 + until_us[2] + 120000 \
        repeat local now = redis.call('TIME') until now[1] * 1e6 + now[2] > until_us return KEYS[1]";
    let sha: String = load.arg("LOAD").arg(busy).query(&mut redis.connect()).unwrap();
    redis.command::<String>(&format!("EVALSHA {sha} 1 {{other}}:none"));
    examine(&redis).assert("slow scripts", "ok", &["none"]);
    redis.command::<String>(&format!("EVALSHA {sha} 1 {{gm}}:none"));
    examine(&redis).assert("slow scripts", "warning", &["1 in the slow log", "SLOWLOG GET"]);
}

#[test]
fn what_is_left_over_and_what_waits() {
    let mut redis = Redis::start();
    let verdict = examine(&redis);
    verdict.assert("leftovers", "ok", &[]);
    let cli = Cli::new(&redis);
    for queue in ["halted", "alone"] {
        cli.run(&["submit", "square", "7", "--force", "--queue", queue]).ok();
    }
    redis.command::<u64>("SADD {gm}:paused halted");
    redis.command::<u64>("HSET {gm}:queue:alone parked_tasks 4");
    redis.command::<u64>("ZADD {gm}:leases 1000 0190000000007000800000000000000a");
    redis.command::<u64>("HSET {gm}:suspects some:0 x");
    redis.command::<()>("SET {gm}:mine x");
    let verdict = examine(&redis);
    let said = verdict.lines.iter().map(ToString::to_string).collect::<String>();
    assert_says(&said, &["halted is paused", "queue resume halted", "no worker serves it", "--queues alone"]);
    assert_says(&said, &["4 tasks wait for a worker that knows their kernel", "1 leases", "1 suspects", "1 keys that"]);
    assert_says(&said, &["`gristmill fsck` names them; delete what nobody needs"]);
    assert_eq!(verdict.code, 0, "{said}");
}

#[test]
fn defaults_are_told_without_redis() {
    let cli = Cli::at("redis://127.0.0.1:1");
    let rows: Vec<Value> = serde_json::from_str(&cli.run(&["doctor", "--defaults", "--json"]).ok()).unwrap();
    assert_eq!(rows.len(), gristmill_shared::defaults::all().len());
    let lease = rows.iter().find(|row| row["name"] == "lease").unwrap();
    assert_eq!(lease["value"], "10s");
    assert_says(&cli.run(&["doctor", "--defaults"]).ok(), &["DEFAULT", "result_ttl", "24h", "How long results stay"]);
}

#[test]
fn a_server_that_lets_nobody_in() {
    let redis = Redis::special(EmbeddedOptions::new().tcp(true));
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("secret").exec(&mut redis.connect()).unwrap();
    for command in ["doctor", "fsck"] {
        error(&Cli::new(&redis).run(&[command]), 3);
    }
}
