//! What the running tasks of a batch tell of themselves, on the line that shows how far it is.

use std::time::Duration;

use futures::FutureExt;
use gristmill::{BatchHandle, BatchId, BatchProgress, Client, ClientError, Progress as Told};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::progress::Progress;

/// While results come more often than this, they tell enough; and what runs is asked no more often.
const PAUSE: Duration = Duration::from_secs(1);

/// Watches one batch.
pub struct Running {
    batch: BatchHandle,
    done: u64,
    /// Since when so many are done.
    since: Instant,
    looked: Instant,
    look: Option<JoinHandle<Result<BatchProgress, ClientError>>>,
    /// How far each is that runs, the furthest last.
    fractions: Vec<f64>,
    note: String,
}

impl Running {
    pub fn new(client: &Client, batch: BatchId) -> Self {
        let (since, looked) = (Instant::now(), Instant::now());
        Self {
            batch: client.batch(batch),
            done: 0,
            since,
            looked,
            look: None,
            fractions: Vec::new(),
            note: String::new(),
        }
    }

    /// Shows that so many are done, and how far others are. Never waits for Redis.
    pub fn show(&mut self, done: u64, progress: &Progress) {
        if done != self.done {
            self.forget(done.saturating_sub(self.done));
            (self.done, self.since) = (done, Instant::now());
        }
        if let Some(look) = self.look.take_if(|look| look.is_finished())
            // Should Redis not answer, that is for whoever waits for results to find out.
            && let Some(Ok(Ok(seen))) = look.now_or_never()
        {
            self.see(&seen);
        }
        if self.look.is_none() && self.since.elapsed() >= PAUSE && self.looked.elapsed() >= PAUSE {
            let batch = self.batch.clone();
            self.look = Some(tokio::spawn(async move { batch.progress().await }));
            self.looked = Instant::now();
        }
        progress.set_with(done, self.fractions.iter().sum(), &self.note);
    }

    /// So many more have ended: most likely those that were furthest. The next look knows.
    fn forget(&mut self, ended: u64) {
        let left = self.fractions.len().saturating_sub(usize::try_from(ended).unwrap_or(usize::MAX));
        self.fractions.truncate(left);
        if left == 0 {
            self.note.clear();
        }
    }

    fn see(&mut self, seen: &BatchProgress) {
        self.fractions = seen.running.iter().map(|(_, told)| told.fraction.unwrap_or(0.0)).collect();
        self.fractions.sort_by(f64::total_cmp);
        self.note =
            seen.running.iter().map(|(_, told)| in_words(told)).find(|note| !note.is_empty()).unwrap_or_default();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(look) = &self.look {
            look.abort();
        }
    }
}

fn in_words(told: &Told) -> String {
    let percent = told.fraction.map(|fraction| format!("{:.0}%", 100.0 * fraction));
    percent.into_iter().chain(told.note.clone()).collect::<Vec<_>>().join(" ")
}
