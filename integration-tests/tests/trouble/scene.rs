//! A worker and a client that are busy while something happens to their Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures::stream;
use gristmill::{BatchId, BatchState, Client, Lane, SubmitOptions};
use gristmill_integration_tests::{DEADLINE, WorkerOptions, WorkerProcess};
use gristmill_kernels::square;
use gristmill_shared::{KernelName, codec, events};
use tokio::task::JoinHandle;

/// So soon after Redis is back, new work is done.
pub const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Between two tasks of the load.
const PACE: Duration = Duration::from_millis(4);

/// What runs while there is trouble.
pub struct Scene {
    pub worker: WorkerProcess,
    pub client: Client,
    pub load: Load,
}

impl Scene {
    /// Two consumers and a map, once its results come.
    pub async fn start(url: &str) -> Self {
        Self::with(url, WorkerOptions::new()).await
    }

    pub async fn with(url: &str, worker: WorkerOptions) -> Self {
        let worker = worker.consumers(2).start_at(url);
        let client = Client::connect(url).await.expect("Redis answers");
        let load = Load::start(&client).await;
        let scene = Self { worker, client, load };
        scene.flows().await;
        scene
    }

    /// Waits until more results come.
    pub async fn flows(&self) {
        let until = self.load.results() + 50;
        let begun = Instant::now();
        while self.load.results() < until {
            assert!(!self.load.map.is_finished(), "the map has ended");
            assert!(begun.elapsed() < DEADLINE, "no results come; the log's end:\n{}", self.worker.log.tail());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Redis is back: asserts that the worker and the client, as they are, do new work soon enough, and that old
    /// work goes on.
    pub async fn works_again(&self) {
        let back = Instant::now();
        // Ahead of what waits already.
        let options = SubmitOptions::new().lane(Lane::High);
        let task = async { self.client.submit_with(square, 7, &options).await?.result().await };
        let done = tokio::time::timeout(DEADLINE, task).await;
        let took = back.elapsed();
        assert_eq!(done.expect("new work is done").expect("the task succeeds"), 49);
        assert!(took < BACK_WITHIN, "new work took {took:?}; the log's end:\n{}", self.worker.log.tail());
        self.flows().await;
        let took = back.elapsed();
        assert!(took < BACK_WITHIN, "old work took {took:?}; the log's end:\n{}", self.worker.log.tail());
    }

    /// Ends the load and the worker: every task of the load has succeeded, and its result came once.
    pub async fn end(mut self) -> WorkerProcess {
        let (batch, tasks) = self.load.finish().await;
        let record = self.client.batch_record(batch).await.expect("Redis answers").expect("the batch is there");
        assert_eq!((record.total, record.ended()), (Some(tasks), tasks), "{record:?}");
        assert_eq!(record.state, BatchState::Finished);
        assert_eq!(self.worker.drain().code(), Some(0));
        self.worker
    }

    /// The same where nobody has to die.
    pub async fn end_unharmed(self) -> WorkerProcess {
        let worker = self.end().await;
        for event in [events::LEASE_LOST, events::CONSUMER_DIED, events::CONSUMER_RECLAIMED, events::AGENT_DIED] {
            assert!(worker.log.events(event).is_empty(), "{event}:\n{}", worker.log.tail());
        }
        worker
    }
}

/// A map without end, until it is told to end.
pub struct Load {
    batch: BatchId,
    results: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    map: JoinHandle<u64>,
}

impl Load {
    pub async fn start(client: &Client) -> Self {
        let (results, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let goes_on = Arc::clone(&over);
        let args = stream::unfold(codec::encode(&0.0).expect("a number"), move |arg| {
            let goes_on = !goes_on.load(SeqCst);
            // Slow enough that no work piles up, so that what is new is soon done.
            async move {
                tokio::time::sleep(PACE).await;
                goes_on.then(|| (arg.clone(), arg))
            }
        });
        let kernel = KernelName::new("sleep").expect("a valid name");
        let map = client.map_raw(&kernel, args, &SubmitOptions::new()).await;
        let mut map = map.expect("a map").unordered();
        let batch = map.id();
        let count = Arc::clone(&results);
        let map = tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some((index, result)) = map.next().await {
                result.unwrap_or_else(|error| panic!("task {index}: {error}"));
                let index = index as usize;
                seen.resize(seen.len().max(index + 1), false);
                assert!(!std::mem::replace(&mut seen[index], true), "the result {index} came twice");
                count.fetch_add(1, SeqCst);
            }
            assert!(seen.iter().all(|&seen| seen), "the map ended before all results had come");
            seen.len() as u64
        });
        Self { batch, results, over, map }
    }

    /// Results that came.
    pub fn results(&self) -> u64 {
        self.results.load(SeqCst)
    }

    /// Lets the map come to its end.
    pub async fn end(mut self) {
        self.finish().await;
    }

    /// Its batch is gone: it ends, with an error that says so.
    pub async fn fails_for_good(self) {
        let ended = tokio::time::timeout(DEADLINE, self.map).await.expect("the map ends");
        let panic = ended.expect_err("its tasks are gone").into_panic();
        let said = panic.downcast_ref::<String>().expect("a text");
        assert!(said.contains("batch") && (said.contains("is gone") || said.contains("no batch")), "{said}");
    }

    /// Lets the map come to its end.
    async fn finish(&mut self) -> (BatchId, u64) {
        self.over.store(true, SeqCst);
        let ended = tokio::time::timeout(DEADLINE, &mut self.map).await;
        (self.batch, ended.expect("the map comes to its end").expect("all results are right"))
    }
}
