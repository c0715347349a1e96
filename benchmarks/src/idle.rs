//! Requests that an idle consumer sends to Redis: the slope between workers of one and of five consumers, so
//! that the agent does not count.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::fleet::Fleet;

const SECONDS: u64 = 20;

pub async fn run() -> Result<(), Box<dyn Error>> {
    let one = requests_per_second(1).await?;
    let five = requests_per_second(5).await?;
    println!("\nidle: {:.2} requests/s per consumer (workers of 1 and 5: {one:.2}, {five:.2})", (five - one) / 4.0);
    Ok(())
}

async fn requests_per_second(consumers: u64) -> Result<f64, Box<dyn Error>> {
    let fleet = Fleet::start(consumers).await?;
    // What a worker does once at its start is over after the first doorbell wait.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut monitor = UnixStream::connect(fleet.redis.socket_path())?;
    monitor.write_all(b"MONITOR\r\n")?;
    monitor.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut lines = BufReader::new(monitor);
    let (until, mut requests, mut line) = (Instant::now() + Duration::from_secs(SECONDS), 0u64, String::new());
    while Instant::now() < until {
        line.clear();
        // Commands inside scripts are marked `lua`: they are no requests.
        if lines.read_line(&mut line).is_ok() && line.contains('[') && !line.contains(" lua]") {
            requests += 1;
        }
    }
    Ok(requests as f64 / SECONDS as f64)
}
