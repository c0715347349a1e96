use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;

use crate::defaults::RESPONSE_FIRST;

/// An answer may take this many times as long as the last one did.
const ROOM: u32 = 4;

/// How long to wait for an answer before the connection counts as dead.
///
/// A connection can die without a word: nothing comes any more, and nothing says so. Waiting briefly finds that
/// soon; but a Redis or a network that is slow would then never be heard. So it begins with 2 s, doubles with
/// each answer that does not come, up to the response timeout, and shrinks again when answers come soon.
///
/// Connections to one Redis share one patience: where one has died silently the others are likely to have died,
/// too, and each would take its time to be found out.
#[derive(Debug)]
pub struct Patience {
    ms: AtomicU64,
    most: Duration,
    /// Counts connections that died silently, those of one age as one.
    silences: watch::Sender<u64>,
}

impl Patience {
    /// Never more than `most`.
    pub fn new(most: Duration) -> Self {
        let ms = AtomicU64::new(millis(RESPONSE_FIRST.min(most)));
        Self { ms, most, silences: watch::Sender::new(0) }
    }

    /// How long to wait now.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.ms.load(Relaxed))
    }

    /// The longest that it may become: for calls that carry a lot.
    pub fn most(&self) -> Duration {
        self.most
    }

    /// An answer took so long.
    pub fn answered(&self, took: Duration) {
        let enough = took.saturating_mul(ROOM).max(RESPONSE_FIRST).min(self.most);
        self.ms.fetch_min(millis(enough), Relaxed);
    }

    /// No answer came although we waited for so long, on a connection of this age.
    pub fn missed(&self, waited: Duration, age: u64) {
        let more = waited.saturating_mul(2).min(self.most);
        self.ms.fetch_max(millis(more), Relaxed);
        self.silences.send_if_modified(|silences| {
            let first = *silences == age;
            *silences += u64::from(first);
            first
        });
    }

    /// All connections that there are lead to the wrong place.
    pub fn doubt(&self) {
        self.silences.send_modify(|silences| *silences += 1);
    }

    /// The age of a connection that is made now.
    pub fn age(&self) -> u64 {
        *self.silences.borrow()
    }

    /// Whether a connection of the same age has died silently.
    pub fn doubts(&self, age: u64) -> bool {
        self.age() != age
    }

    /// Waits until that is so.
    pub async fn until_doubts(&self, age: u64) {
        // The sender lives as long as we do.
        let _ = self.silences.subscribe().wait_for(|&silences| silences != age).await;
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_silence_and_shrinks_with_answers() {
        let patience = Patience::new(Duration::from_secs(10));
        let mut waits = Vec::new();
        for _ in 0..5 {
            waits.push(patience.now().as_secs());
            let waited = patience.now();
            // Two calls that wait at once count once.
            patience.missed(waited, 0);
            patience.missed(waited, 0);
        }
        assert_eq!(waits, [2, 4, 8, 10, 10]);
        patience.answered(Duration::from_secs(2));
        assert_eq!(patience.now(), Duration::from_secs(8));
        patience.answered(Duration::from_millis(5));
        assert_eq!(patience.now(), RESPONSE_FIRST);
        patience.answered(Duration::from_secs(60));
        assert_eq!(patience.now(), RESPONSE_FIRST, "an answer never makes it longer");
    }

    #[test]
    fn it_never_exceeds_its_limit() {
        let patience = Patience::new(Duration::from_secs(1));
        assert_eq!(patience.now(), Duration::from_secs(1));
        patience.missed(Duration::from_secs(1), 0);
        assert_eq!(patience.now(), Duration::from_secs(1));
        assert_eq!(patience.most(), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn one_silence_casts_doubt_on_all_connections_of_its_age_once() {
        let patience = Patience::new(Duration::from_secs(10));
        let (old, waits) = (patience.age(), patience.now());
        assert!(!patience.doubts(old));
        patience.missed(waits, old);
        assert!(patience.doubts(old));
        patience.until_doubts(old).await;
        let new = patience.age();
        patience.missed(waits, old);
        assert!(!patience.doubts(new), "one that died with the first");
    }
}
