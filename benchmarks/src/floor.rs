//! What Redis alone carries: the work that any queue of this kind asks of the server for a task, asked by a client
//! that does nothing else. Commands are written before the clock starts and sent in blocks, answers are only counted.
//!
//! For each task: RPUSH of a message of 100 bytes, a claim of 64 (LPOP with a count, RPUSH into a list of what is in
//! flight), a finish of 64 (LTRIM, HSET of 64 results, PUBLISH), HMGET of 64 results. Claim and finish are scripts, so that
//! each is one step, as it must be where a consumer may die between two commands.

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use gristmill_embedded::EmbeddedRedis;

use crate::fleet::cpu_us;

/// Tasks of one claim, one finish, and so on.
const SLICE: usize = 64;
/// Slices that are sent at once.
const BLOCK: usize = 16;
/// Each task has a result of its own, in a hash of so many: as many as a bucket of ours.
const RESULTS: usize = 8192;
const MESSAGE_BYTES: usize = 100;
/// About as much as the outcome of `square` takes.
const RESULT_BYTES: usize = 8;

const CLAIM: &str = "local m = redis.call('LPOP', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], unpack(m)) return m";
const FINISH: &str = "redis.call('LTRIM', KEYS[1], ARGV[1], -1) \
    redis.call('HSET', KEYS[2], unpack(ARGV, 2)) redis.call('PUBLISH', KEYS[3], 's') return 1";

/// What a run of the floor showed.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// Tasks per second.
    pub tasks_per_second: f64,
    /// CPU of the server per task, µs.
    pub redis_us: f64,
    /// CPU of the client per task, µs. More than the server's would make it a floor of the client.
    pub client_us: f64,
}

/// Measures with so many connections for about this long.
pub fn measure(connections: usize, for_about: Duration) -> Result<Floor, Box<dyn Error>> {
    let redis = EmbeddedRedis::start()?;
    let path = redis.url().trim_start_matches("redis+unix://").to_owned();
    let pid = redis.pid().unwrap_or_default();
    let mut lanes = (0..connections).map(|number| Lane::open(&path, number)).collect::<Result<Vec<_>, _>>()?;
    let before = (cpu_us(pid), cpu_us(std::process::id()));
    let started = Instant::now();
    let running = lanes.drain(..).map(|lane| thread::spawn(move || lane.run(started + for_about)));
    let mut tasks = 0;
    for lane in running.collect::<Vec<_>>() {
        tasks += lane.join().map_err(|_| "a connection of the floor panicked")??;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let after = (cpu_us(pid), cpu_us(std::process::id()));
    let each = |from: u64, to: u64| (to - from) as f64 / tasks as f64;
    Ok(Floor {
        tasks_per_second: tasks as f64 / elapsed,
        redis_us: each(before.0, after.0),
        client_us: each(before.1, after.1),
    })
}

/// One connection with keys of its own.
struct Lane {
    stream: UnixStream,
    /// One after the other, and again: together they write all results.
    blocks: Vec<Vec<u8>>,
    /// What the answers to a block take.
    answer_bytes: usize,
}

impl Lane {
    fn open(path: &str, number: usize) -> Result<Self, Box<dyn Error>> {
        let mut stream = UnixStream::connect(path)?;
        let load = |stream: &mut UnixStream, script| -> Result<String, Box<dyn Error>> {
            let answer = ask(stream, &command(&[b"SCRIPT", b"LOAD", script]))?;
            // "$40", the digest, end of line.
            Ok(String::from_utf8_lossy(&answer).lines().nth(1).unwrap_or_default().to_owned())
        };
        let (claim, finish) = (load(&mut stream, CLAIM.as_bytes())?, load(&mut stream, FINISH.as_bytes())?);
        let slices: Vec<_> = (0..RESULTS / SLICE).map(|first| slice(number, first * SLICE, &claim, &finish)).collect();
        let answer_bytes = ask(&mut stream, &slices[0])?.len() * BLOCK;
        Ok(Self { stream, blocks: slices.chunks(BLOCK).map(<[_]>::concat).collect(), answer_bytes })
    }

    /// Sends block after block, two at a time, until then. Returns the number of tasks.
    fn run(mut self, until: Instant) -> Result<usize, std::io::Error> {
        let mut answer = vec![0; self.answer_bytes];
        let mut sent = 0;
        self.stream.write_all(&self.blocks[0])?;
        while Instant::now() < until {
            sent += 1;
            self.stream.write_all(&self.blocks[sent % self.blocks.len()])?;
            self.stream.read_exact(&mut answer)?;
        }
        self.stream.read_exact(&mut answer)?;
        Ok((sent + 1) * BLOCK * SLICE)
    }
}

/// The commands of one slice, whose results are those from `first` on.
fn slice(number: usize, first: usize, claim: &str, finish: &str) -> Vec<u8> {
    let key = |name: &str| format!("floor:{name}:{number}").into_bytes();
    let (ready, inflight, results, done) = (key("ready"), key("inflight"), key("results"), key("done"));
    let (message, result, count) = (vec![b'm'; MESSAGE_BYTES], vec![b'r'; RESULT_BYTES], SLICE.to_string());
    let fields: Vec<Vec<u8>> = (first..first + SLICE).map(|field| field.to_string().into_bytes()).collect();
    let mut push: Vec<&[u8]> = vec![b"RPUSH", &ready];
    push.extend(std::iter::repeat_n(message.as_slice(), SLICE));
    let claim: Vec<&[u8]> = vec![b"EVALSHA", claim.as_bytes(), b"2", &ready, &inflight, count.as_bytes()];
    let mut settle: Vec<&[u8]> =
        vec![b"EVALSHA", finish.as_bytes(), b"3", &inflight, &results, &done, count.as_bytes()];
    settle.extend(fields.iter().flat_map(|field| [field.as_slice(), result.as_slice()]));
    let mut collect: Vec<&[u8]> = vec![b"HMGET", &results];
    collect.extend(fields.iter().map(Vec::as_slice));
    [push, claim, settle, collect].iter().flat_map(|words| command(words)).collect()
}

/// A command as it goes over the wire.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Sends commands and returns their answers: those that come before the answer to a last question.
fn ask(stream: &mut UnixStream, commands: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    const LAST: &[u8] = b"+PONG\r\n";
    stream.write_all(commands)?;
    stream.write_all(&command(&[b"PING"]))?;
    let (mut answer, mut piece) = (Vec::new(), [0; 16 * 1024]);
    while !answer.ends_with(LAST) {
        match stream.read(&mut piece)? {
            0 => return Err("Redis closed the connection".into()),
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    answer.truncate(answer.len() - LAST.len());
    if answer.starts_with(b"-") || answer.windows(3).any(|bytes| bytes == b"\r\n-") {
        return Err(String::from_utf8_lossy(&answer).into_owned().into());
    }
    Ok(answer)
}

/// Prints it for one and for two connections.
pub fn run() -> Result<(), Box<dyn Error>> {
    println!("{:<34} {:>9} {:>14}", "", "", "CPU µs per task");
    println!("{:<34} {:>9} {:>7} {:>7}", "Redis alone", "tasks/s", "client", "redis");
    for connections in [1, 2, 1, 2, 1, 2] {
        let floor = measure(connections, Duration::from_secs(2))?;
        let name = format!("{connections} connection{}", if connections == 1 { "" } else { "s" });
        println!("{name:<34} {:>9.0} {:>7.2} {:>7.2}", floor.tasks_per_second, floor.client_us, floor.redis_us);
    }
    Ok(())
}
