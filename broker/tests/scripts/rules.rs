//! What holds for every script alike.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_broker::script::{SOURCES, Scripts};
use gristmill_broker::{Broker, BrokerError};
use gristmill_shared::Namespace;
use redis::Value;

use crate::fixture::*;
use crate::scenes::{NAMES, Scene};

async fn scene() -> (Bench, Scene) {
    let mut b = Bench::start().await;
    let scene = Scene::set(&mut b).await;
    b.audit().await;
    (b, scene)
}

/// What a monitor saw: the words of each command, and whether a script sent it.
pub struct Monitor(Listener);

impl Monitor {
    pub fn start(b: &Bench) -> Self {
        Self(Listener::start(&b.redis, &["MONITOR"]))
    }

    /// Everything up to now.
    pub async fn commands(&mut self, b: &mut Bench) -> Vec<(bool, Vec<String>)> {
        b.ask::<String>(&["ECHO", "that is all"]).await;
        let mut commands = Vec::new();
        loop {
            let Value::SimpleString(line) = self.0.hear() else { panic!("no line of a monitor") };
            let (source, rest) = line.split_once("] ").unwrap();
            let words = words(rest);
            if words == ["ECHO", "that is all"] {
                return commands;
            }
            commands.push((source.ends_with(" lua"), words));
        }
    }
}

/// Takes a line of quoted words apart. Bytes outside of text do not matter here: no key has any.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut inside, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' if inside => {
                words.push(std::mem::take(&mut word));
                inside = false;
            }
            '"' => inside = true,
            _ if inside => word.push(c),
            _ => {}
        }
    }
    words
}

/// The keys of a command that a script sent.
fn keys_of(words: &[String]) -> &[String] {
    match words[0].to_ascii_uppercase().as_str() {
        "TIME" | "PUBLISH" | "PING" => &[],
        "DEL" | "UNLINK" | "EXISTS" => &words[1..],
        _ => &words[1..2],
    }
}

/// The scripts of a log: name, declared keys, touched keys.
fn calls(commands: &[(bool, Vec<String>)]) -> Vec<(&'static str, BTreeSet<String>, BTreeSet<String>)> {
    let names: BTreeMap<String, &str> =
        SOURCES.iter().map(|s| (redis::Script::new(&s.text()).get_hash().to_owned(), s.name)).collect();
    let mut calls: Vec<(&str, BTreeSet<String>, BTreeSet<String>)> = Vec::new();
    for (by_script, words) in commands {
        if *by_script {
            calls.last_mut().unwrap().2.extend(keys_of(words).iter().cloned());
        } else if words[0].eq_ignore_ascii_case("EVALSHA") {
            let n: usize = words[2].parse().unwrap();
            calls.push((names[&words[1]], words[3..3 + n].iter().cloned().collect(), BTreeSet::new()));
        }
    }
    calls
}

#[tokio::test]
async fn every_key_that_a_script_touches_is_declared_and_of_the_namespace() {
    let mut seen = BTreeSet::new();
    for name in NAMES {
        let mut b = Bench::start().await;
        let mut monitor = Monitor::start(&b);
        let scene = Scene::set(&mut b).await;
        assert!(scene.call(&mut b, name).await.unwrap(), "{name}");
        for (name, declared, touched) in calls(&monitor.commands(&mut b).await) {
            assert!(touched.is_subset(&declared), "{name}: {:?}", touched.difference(&declared));
            assert!(declared.iter().all(|key| key.starts_with("{gm}:")), "{name}: {declared:?}");
            if !touched.is_empty() {
                seen.insert(name);
            }
        }
    }
    assert_eq!(seen, SOURCES.iter().map(|s| s.name).collect(), "scripts that no scene calls");
}

/// The keys that a call declares, in their order: learned from scripts that do nothing but fail.
async fn declared(b: &mut Bench, scene: &Scene, name: &str) -> Vec<String> {
    let mut monitor = Monitor::start(b);
    let failing = Scripts::edited(|_| "return redis.error_reply('NO')".to_owned());
    let broker = Broker::with_scripts(&Namespace::new("gm").unwrap(), failing);
    let real = std::mem::replace(&mut b.broker, broker);
    scene.call(b, name).await.unwrap_err();
    b.broker = real;
    let commands = monitor.commands(b).await;
    let words = &commands.iter().find(|(_, words)| words[0] == "EVALSHA").unwrap().1;
    words[3..3 + words[2].parse::<usize>().unwrap()].to_vec()
}

#[tokio::test]
async fn a_key_of_another_type_stops_a_script_before_it_writes() {
    let mut unmoved = Vec::new();
    for name in NAMES {
        let (mut b, mut scene) = scene().await;
        let count = declared(&mut b, &scene, name).await.len();
        for i in 0..count {
            let key = declared(&mut b, &scene, name).await.remove(i);
            let there = b.ask::<bool>(&["EXISTS", &key]).await;
            if there {
                b.ask::<()>(&["RENAME", &key, "{gm}:away"]).await;
            }
            b.ask::<()>(&["SET", &key, "of another type"]).await;
            let before = b.snapshot().await;
            let answer = scene.call(&mut b, name).await;
            if let Err(error) = answer {
                assert!(matches!(error, BrokerError::WrongType(_)), "{name} {key}: {error}");
                assert_eq!(b.snapshot().await, before, "{name} wrote although {key} has another type");
                b.ask::<()>(&["DEL", &key]).await;
                if there {
                    b.ask::<()>(&["RENAME", "{gm}:away", &key]).await;
                }
            } else {
                unmoved.push(format!("{name} {}", key.split(':').nth(1).unwrap()));
                (b, scene) = self::scene().await;
            }
        }
        assert!(scene.call(&mut b, name).await.unwrap(), "{name}");
    }
    // Not a key of the script's own, deleted whatever it is, or not needed for this answer.
    unmoved.retain(|what| !what.ends_with(" none"));
    assert_eq!(unmoved, UNMOVED);
}

/// The end of a message loses what it cannot record of its batch: waiting for that would stop everybody else.
const UNMOVED: [&str; 12] = [
    "enqueue blob",
    "settle batch",
    "settle runs",
    "settle results",
    "reclaim clock",
    "judge batch",
    "judge runs",
    "sweep runs",
    "sweep results",
    "purge batch",
    "purge runs",
    "purge results",
];

#[tokio::test]
async fn at_the_memory_limit_the_system_drains() {
    for name in NAMES {
        let (mut b, scene) = scene().await;
        b.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
        b.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
        let before = b.snapshot().await;
        let answer = scene.call(&mut b, name).await;
        if ["enqueue", "revive"].contains(&name) {
            assert!(matches!(answer, Err(BrokerError::OutOfMemory)), "{name} is not refused");
            assert_eq!(b.snapshot().await, before, "{name} was refused, but has written");
        } else {
            assert!(answer.unwrap_or_else(|error| panic!("{name}: {error}")), "{name}");
        }
        b.audit().await;
    }
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let (mut b, scene) = scene().await;
    for name in NAMES {
        b.ask::<()>(&["SCRIPT", "FLUSH"]).await;
        // What one scene leaves behind is not what the next expects; that it runs is the point.
        scene.call(&mut b, name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        b.audit().await;
    }
}

#[test]
fn every_file_says_what_it_takes_answers_and_must_never_do() {
    assert_eq!(SOURCES.iter().map(|s| s.name).collect::<BTreeSet<_>>(), NAMES.into_iter().collect());
    for source in SOURCES {
        let (name, text) = (source.name, source.texts.last().unwrap());
        assert!(text.starts_with(&format!("-- {name}: ")), "{name} does not begin with its name");
        let header: Vec<_> = text.lines().take_while(|line| line.starts_with("--")).collect();
        for word in ["-- KEYS  ", "-- ARGV  ", "-- Returns  ", "-- Must never "] {
            assert!(header.iter().any(|line| line.starts_with(word)), "{name} lacks '{word}'");
        }
    }
}

#[test]
fn no_script_builds_a_key_or_uses_what_is_not_everywhere() {
    const FOREIGN: [&str; 11] = [
        "cjson",
        "cmsgpack",
        "bit.",
        "math.random",
        "loadstring",
        "redis.pcall",
        "redis.replicate",
        "table.unpack",
        "string.pack",
        "goto ",
        "{gm}",
    ];
    for source in SOURCES {
        let text = source.text();
        for line in text.lines().map(|line| line.split("--").next().unwrap_or_default()) {
            let name = source.name;
            assert!(!FOREIGN.iter().any(|word| line.contains(word)), "{name}: {line}");
            assert!(!line.starts_with("function "), "{name} makes a global: {line}");
            assert!(!line.contains("'{"), "{name} makes a hash tag: {line}");
            for call in line.split("redis.call('").skip(1) {
                let (command, rest) = call.split_once('\'').unwrap();
                let key = rest.trim_start_matches(", ").split([',', ')']).next().unwrap_or_default();
                let is_name = key.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.[]+".contains(&c));
                assert!(is_name, "{name}: {command} has the key {key}");
            }
        }
    }
}
