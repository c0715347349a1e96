//! Servers and sentinels of our own, which say what they are told to, and when.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Patience, connect, watch_master};
use super::*;

#[derive(Clone)]
struct Fake {
    port: u16,
    /// What a sentinel says, and how long that takes it.
    says: Arc<Mutex<(u64, String, u16, Duration)>>,
    connections: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (says, connections, questions) = Default::default();
        let fake = Self { port, says, connections, questions };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Relaxed);
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        fake
    }

    fn say(&self, epoch: u64, host: &str, master: &Fake, after: Duration) {
        *self.says.lock().unwrap() = (epoch, host.to_owned(), master.port, after);
    }

    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(words) = command(&mut stream).await {
            let (epoch, host, port, after) = self.says.lock().unwrap().clone();
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let answer = match words.as_slice() {
                ["PING"] => "+PONG\r\n".to_owned(),
                ["ROLE"] => "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_owned(),
                ["SENTINEL", "MASTER", "main"] => {
                    tokio::time::sleep(after).await;
                    array(&["config-epoch", &epoch.to_string()])
                }
                ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"] => {
                    self.questions.fetch_add(1, Relaxed);
                    array(&[&host, &port.to_string()])
                }
                _ => "+OK\r\n".to_owned(),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
    }
    Some(words)
}

/// The number in a line such as `*2` or `$5`.
async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim().get(1..)?.parse().ok()
}

fn array(words: &[&str]) -> String {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*2\r\n{words}")
}

/// Two masters and two sentinels; both call the first the master.
async fn scene() -> ([Fake; 2], [Fake; 2], Endpoint) {
    let masters = [Fake::start().await, Fake::start().await];
    let sentinels = [Fake::start().await, Fake::start().await];
    sentinels.iter().for_each(|sentinel| sentinel.say(1, "127.0.0.1", &masters[0], Duration::ZERO));
    let [one, two] = [sentinels[0].port, sentinels[1].port];
    let endpoint = Endpoint::parse(&format!("redis+sentinel://127.0.0.1:{one},127.0.0.1:{two}/main")).unwrap();
    (masters, sentinels, endpoint)
}

async fn doubted(patience: &Patience, age: u64) -> bool {
    timeout(Duration::from_secs(10), patience.until_doubts(age)).await.is_ok()
}

#[tokio::test]
async fn a_failover_before_the_first_look_of_the_watch_is_seen() {
    let (masters, sentinels, endpoint) = scene().await;
    connect(&endpoint, &Timeouts::default()).await.unwrap();
    sentinels.iter().for_each(|sentinel| sentinel.say(2, "127.0.0.1", &masters[1], Duration::ZERO));
    let patience = Arc::new(Patience::new(Duration::from_secs(1)));
    let age = patience.age();
    watch_master(&endpoint, &Timeouts::default(), &patience);
    assert!(doubted(&patience, age).await);
}

#[tokio::test]
async fn a_sentinel_that_knows_less_than_we_do_is_not_enough() {
    let (masters, sentinels, endpoint) = scene().await;
    connect(&endpoint, &Timeouts::default()).await.unwrap();
    sentinels[1].say(2, "127.0.0.1", &masters[1], Duration::ZERO);
    let patience = Arc::new(Patience::new(Duration::from_secs(1)));
    let age = patience.age();
    watch_master(&endpoint, &Timeouts::default(), &patience);
    assert!(doubted(&patience, age).await);
    sentinels[1].say(2, "127.0.0.1", &masters[1], 4 * STRAGGLERS);
    let age = patience.age();
    connect(&endpoint, &Timeouts::default()).await.unwrap();
    assert_eq!(masters.each_ref().map(|master| master.connections.load(Relaxed)), [1, 1]);

    // One that is heard too late, for now: the old master is better than none, and is left as soon as it is heard.
    let impatient = Timeouts { connect: 8 * STRAGGLERS, ..Timeouts::default() };
    sentinels[1].say(2, "127.0.0.1", &masters[1], 6 * STRAGGLERS);
    connect(&endpoint, &impatient).await.unwrap();
    assert_eq!(masters[0].connections.load(Relaxed), 2);
    assert!(doubted(&patience, age).await);
}

#[tokio::test]
async fn another_name_of_the_same_master_moves_nobody_and_the_watch_keeps_its_connections() {
    let (masters, sentinels, endpoint) = scene().await;
    sentinels[1].say(1, "localhost", &masters[0], Duration::ZERO);
    connect(&endpoint, &Timeouts::default()).await.unwrap();
    let patience = Arc::new(Patience::new(Duration::from_secs(1)));
    let age = patience.age();
    watch_master(&endpoint, &Timeouts::default(), &patience);
    // Each has its turn twice.
    let asked = |sentinel: &Fake| sentinel.questions.load(Relaxed) >= 3;
    timeout(Duration::from_secs(30), async {
        while !sentinels.iter().all(asked) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(!patience.doubts(age));
    let connections = sentinels.each_ref().map(|sentinel| sentinel.connections.load(Relaxed));
    assert!(connections.iter().all(|&made| made <= 2), "one to find the master, one to watch it: {connections:?}");
}
