//! Where tasks report that they start.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Far beyond any goal: something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task has started. Dropping this fails it.
#[derive(Debug)]
pub struct Start {
    pub at: Instant,
    pub task: String,
    pub pid: i32,
    stream: BufReader<UnixStream>,
}

impl Start {
    /// Lets the task end, if its process lives.
    pub async fn go(mut self) {
        // A process that was killed reads no more.
        let _ = self.stream.get_mut().write_all(b".").await;
    }
}

/// Listens for as long as it lives.
pub struct Beacons {
    directory: TempDir,
    starts: UnboundedReceiver<Start>,
}

impl Beacons {
    pub fn listen() -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let listener = UnixListener::bind(directory.path().join("s"))?;
        let (sender, starts) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let at = Instant::now();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                // Whoever dies before it has said who it is has not started a task.
                if stream.read_line(&mut line).await.is_err() {
                    continue;
                }
                let Some((task, pid)) = line.trim_end().split_once(' ') else { continue };
                let Ok(pid) = pid.parse() else { continue };
                let start = Start { at, task: task.to_owned(), pid, stream };
                if sender.send(start).is_err() {
                    return;
                }
            }
        });
        Ok(Self { directory, starts })
    }

    /// What a task takes as its argument.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    pub async fn next(&mut self) -> Result<Start, Box<dyn Error>> {
        let next = tokio::time::timeout(PATIENCE, self.starts.recv()).await;
        next.ok().flatten().ok_or_else(|| format!("no task started within {PATIENCE:?}").into())
    }

    /// Waits for so many tasks, each in a process of its own; by task.
    pub async fn wait(&mut self, count: usize) -> Result<BTreeMap<String, Start>, Box<dyn Error>> {
        let mut found = BTreeMap::new();
        while found.len() < count {
            let start = self.next().await?;
            found.insert(start.task.clone(), start);
        }
        Ok(found)
    }
}
