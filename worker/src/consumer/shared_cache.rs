//! Shared input that this consumer has fetched, as long as it may be needed again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_shared::BatchId;
use gristmill_shared::shared_input::{Gauge, SharedInput};

/// The shared input of a few batches, and what all of it may take. The newest may take more.
pub struct SharedCache {
    entries: Vec<Entry>,
    budget: u64,
    gauge: Gauge,
}

struct Entry {
    batch: BatchId,
    input: Arc<SharedInput>,
    used: Instant,
}

impl SharedCache {
    /// Empty, with so many bytes to keep; `gauge` counts what there is.
    pub fn new(budget: u64, gauge: Gauge) -> Self {
        Self { entries: Vec::new(), budget, gauge }
    }

    /// Counts what there is.
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// That of a batch, if it is here.
    pub fn get(&mut self, batch: BatchId) -> Option<Arc<SharedInput>> {
        let entry = self.entries.iter_mut().find(|entry| entry.batch == batch)?;
        entry.used = Instant::now();
        Some(Arc::clone(&entry.input))
    }

    /// Drops what was used least lately until so many bytes more have room; what tasks that are handed over need
    /// stays. False: without it there is no room yet.
    pub fn make_room(&mut self, bytes: u64, is_needed: impl Fn(BatchId) -> bool) -> bool {
        while self.gauge.bytes().saturating_add(bytes) > self.budget {
            let free = self.entries.iter().enumerate().filter(|(_, entry)| !is_needed(entry.batch));
            let Some((oldest, _)) = free.min_by_key(|(_, entry)| entry.used) else { break };
            self.entries.remove(oldest);
        }
        self.entries.is_empty() || self.gauge.bytes().saturating_add(bytes) <= self.budget
    }

    /// Keeps what was just fetched.
    pub fn insert(&mut self, batch: BatchId, input: Arc<SharedInput>) {
        self.remove(batch);
        self.entries.push(Entry { batch, input, used: Instant::now() });
    }

    /// Drops that of a batch which needs it no more.
    pub fn remove(&mut self, batch: BatchId) {
        self.entries.retain(|entry| entry.batch != batch);
    }

    /// Drops what no task has read for so long, and what is beyond the budget because it was decoded.
    pub fn tidy(&mut self, unused: Duration, is_needed: impl Fn(BatchId) -> bool) {
        self.entries.retain(|entry| entry.used.elapsed() < unused || is_needed(entry.batch));
        let newest = self.entries.iter().max_by_key(|entry| entry.used).map(|entry| entry.batch);
        self.make_room(0, |batch| Some(batch) == newest || is_needed(batch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n: u8) -> BatchId {
        BatchId::from_bytes([n; 16])
    }

    fn fetch(cache: &mut SharedCache, n: u8, bytes: u64) {
        let gauge = cache.gauge();
        gauge.add(bytes);
        cache.insert(batch(n), Arc::new(SharedInput::new(vec![0; bytes as usize], gauge)));
    }

    fn kept(cache: &mut SharedCache) -> Vec<u8> {
        (1..=9).filter(|&n| cache.entries.iter().any(|entry| entry.batch == batch(n))).collect()
    }

    #[test]
    fn what_was_used_least_lately_makes_room() {
        let mut cache = SharedCache::new(100, Gauge::default());
        for n in 1..=3 {
            assert!(cache.make_room(30, |_| false));
            fetch(&mut cache, n, 30);
        }
        assert!(cache.get(batch(1)).is_some());
        assert!(cache.make_room(30, |_| false));
        fetch(&mut cache, 4, 30);
        assert_eq!(kept(&mut cache), [1, 3, 4]);
        assert_eq!(cache.gauge().bytes(), 90);
        assert!(cache.get(batch(2)).is_none());
    }

    #[test]
    fn the_newest_may_be_larger_than_the_budget_but_waits_for_those_in_use() {
        let mut cache = SharedCache::new(100, Gauge::default());
        fetch(&mut cache, 1, 30);
        assert!(!cache.make_room(500, |needed| needed == batch(1)));
        assert_eq!(kept(&mut cache), [1]);
        assert!(cache.make_room(70, |needed| needed == batch(1)), "both fit");
        assert!(cache.make_room(500, |_| false));
        fetch(&mut cache, 2, 500);
        assert_eq!(kept(&mut cache), [2]);
        cache.tidy(Duration::MAX, |_| false);
        assert_eq!(kept(&mut cache), [2]);
        cache.tidy(Duration::ZERO, |needed| needed == batch(2));
        assert_eq!(kept(&mut cache), [2]);
        cache.tidy(Duration::ZERO, |_| false);
        assert_eq!((kept(&mut cache), cache.gauge().bytes()), (vec![], 0));
    }
}
