//! What a worker costs Redis while it has nothing to do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gristmill_integration_tests::{Redis, WorkerOptions};

const CONSUMERS: usize = 2;
const WATCHED: Duration = Duration::from_secs(6);

#[test]
fn an_idle_consumer_asks_at_most_twice_a_second() {
    let mut redis = Redis::tcp();
    let worker = WorkerOptions::new().consumers(CONSUMERS).start(&redis);
    // Each process by its connections: the agent is the one that writes the worker's record.
    let requests = watch(&redis);
    let agent = |lines: &Vec<String>| lines.iter().any(|line| line.contains(":worker:"));
    let consumers: Vec<&String> = requests.values().filter(|lines| !agent(lines)).flatten().collect();
    let per_second = consumers.len() as f64 / WATCHED.as_secs_f64() / CONSUMERS as f64;
    assert!(!consumers.is_empty(), "nobody renewed a lease");
    assert!(per_second <= 2.0, "{per_second:.1} requests per second and consumer:\n{consumers:#?}");
    let agents: Vec<&String> = requests.values().filter(|lines| agent(lines)).flatten().collect();
    // It has more to say as it starts.
    assert!(agents.len() as f64 / WATCHED.as_secs_f64() <= 10.0, "the agent's requests:\n{agents:#?}");
    assert!(redis.server().is_running());
    drop(worker);
}

/// What every client sent, by its address. What scripts did is left out.
fn watch(redis: &Redis) -> BTreeMap<String, Vec<String>> {
    let mut connection = redis.connect();
    connection.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    connection.send_packed_command(&redis::cmd("MONITOR").get_packed_command()).unwrap();
    let until = Instant::now() + WATCHED;
    let mut requests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while Instant::now() < until {
        let Ok(value) = connection.recv_response() else { continue };
        let line: String = redis::from_redis_value(value).unwrap();
        // 1700000000.000000 [0 127.0.0.1:4242] "COMMAND" …
        let Some((_, rest)) = line.split_once("[0 ") else { continue };
        let Some((address, _)) = rest.split_once(']') else { continue };
        if address != "lua" {
            requests.entry(address.to_owned()).or_default().push(line);
        }
    }
    requests
}
