//! The client: one per process is enough, cheap to clone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gristmill_broker::{Broker, Cancelled, ServerInfo};
use gristmill_shared::connection::{Endpoint, Link};
use gristmill_shared::results::{Collector, Hub};
use gristmill_shared::{BatchId, KernelName, Keys, Namespace, QueueName, TaskId};

use crate::builder::ClientBuilder;
use crate::calls::{Attempts, call};
use crate::error::ClientError;
use crate::memory::{MemoryGuard, room_for};
use crate::options::SubmitOptions;
use crate::pool::{Pool, pool};

/// Submits tasks, and collects, cancels and watches what was submitted.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// What [`Client::with`] gave; it comes before what is in `inner`.
    bound: Arc<SubmitOptions>,
}

struct Inner {
    endpoint: Endpoint,
    queue: QueueName,
    /// What submissions that say nothing else get.
    defaults: SubmitOptions,
    /// What those to one kernel get before that, by its name.
    kernels: BTreeMap<String, SubmitOptions>,
    pool: Pool,
    broker: Broker,
    collector: Collector,
    patience: Duration,
    memory: MemoryGuard,
    clock: Clock,
}

/// The clock of Redis, so that a producer whose own clock is wrong sets no wrong expiry.
struct Clock {
    redis_ms: u64,
    seen: Instant,
}

impl Client {
    /// Connects to a Redis, with the defaults for everything else.
    pub async fn connect(url: impl Into<String>) -> Result<Self, ClientError> {
        Self::builder().endpoint(url).connect().await
    }

    /// A client with other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) async fn start(
        settings: ClientBuilder,
        endpoint: Endpoint,
        namespace: Namespace,
        queue: QueueName,
    ) -> Result<Self, ClientError> {
        let broker = Broker::new(&namespace);
        let keys = broker.keys().clone();
        let hub = Hub::new(endpoint.clone(), settings.timeouts, keys.clone());
        let pool = pool(&endpoint, &settings.timeouts, hub.answers())?;
        let link = Link::new(endpoint.clone(), settings.timeouts);
        let mut inner = Inner {
            endpoint,
            queue,
            defaults: settings.options,
            kernels: settings.kernels,
            pool,
            broker,
            collector: Collector::new(link, keys, hub).patience(settings.patience),
            patience: settings.reach,
            memory: MemoryGuard::default(),
            clock: Clock { redis_ms: now_ms(), seen: Instant::now() },
        };
        inner.clock = inner.look_at_server().await?;
        inner.patience = settings.patience;
        Ok(Self { inner: Arc::new(inner), bound: Arc::default() })
    }

    /// Where its Redis is; printing it shows no password.
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// The queue of submissions that name none, and whose kernel has none of its own.
    pub fn queue(&self) -> &QueueName {
        self.bound.queue.as_ref().or(self.inner.defaults.queue.as_ref()).unwrap_or(&self.inner.queue)
    }

    /// The same client, on the same connections, with other options for whatever is submitted through it. What they do not
    /// set is as before, and a submission's own options come first. So every verb has options, those without a `_with`
    /// form of their own, too: `client.with(options).map_unordered(kernel, items)`.
    ///
    /// An idempotency key belongs to one submission: with one among these options every submission is refused. Shared input
    /// among them is uploaded anew for each submission, for it belongs to a batch.
    ///
    /// ```no_run
    /// # async fn example(client: gristmill::Client) -> Result<(), gristmill::ClientError> {
    /// # gristmill::remote_kernel! { fn square(n: i64) -> i64 = "square"; }
    /// use gristmill::{Lane, SubmitOptions};
    ///
    /// let urgent = client.with(SubmitOptions::new().lane(Lane::High).retries(2).label("team", "search"));
    /// urgent.submit(square, 7).await?;
    /// urgent.submit(square, 8).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with(&self, options: SubmitOptions) -> Self {
        Self { inner: Arc::clone(&self.inner), bound: Arc::new(options.over(&self.bound)) }
    }

    /// What a submission to this kernel with these options gets; refuses what cannot work.
    pub(crate) fn effective(&self, kernel: &KernelName, options: &SubmitOptions) -> Result<SubmitOptions, ClientError> {
        self.bound.check_bound("all submissions")?;
        let mut options = options.clone().over(&self.bound);
        if let Some(of_kernel) = self.inner.kernels.get(kernel.as_str()) {
            options = options.over(of_kernel);
        }
        let options = options.over(&self.inner.defaults);
        options.check()?;
        Ok(options)
    }

    /// The keys of the deployment.
    pub fn keys(&self) -> &Keys {
        self.inner.broker.keys()
    }

    /// Cancels a batch: what has not started will not, and what runs is asked to end.
    pub async fn cancel(&self, batch: BatchId) -> Result<Cancelled, ClientError> {
        let broker = self.broker();
        let cancelled = call!(self, connection => broker.cancel(connection, batch, None));
        Ok(self.hasten(batch, cancelled).await)
    }

    /// Cancels what has not started of a batch, and seals it: what runs comes to its end.
    pub async fn cancel_unstarted(&self, batch: BatchId) -> Result<Cancelled, ClientError> {
        let broker = self.broker();
        let cancelled = call!(self, connection => broker.cancel_unstarted(connection, batch));
        Ok(self.hasten(batch, cancelled).await)
    }

    /// Cancels one task of a batch.
    pub async fn cancel_task(&self, task: TaskId) -> Result<Cancelled, ClientError> {
        let broker = self.broker();
        let indices = [task.index];
        let cancelled = call!(self, connection => broker.cancel(connection, task.batch, Some(&indices)));
        Ok(self.hasten(task.batch, cancelled).await)
    }

    /// What is scheduled and cancelled now ends soon, and not when it was due. The cancel is done whatever becomes of
    /// that.
    async fn hasten(&self, batch: BatchId, cancelled: Cancelled) -> Cancelled {
        if cancelled == Cancelled::Done
            && let Err(error) = self.hasten_scheduled(batch).await
        {
            tracing::warn!(%batch, %error, "it is cancelled, but what of it is scheduled ends only when it is due");
        }
        cancelled
    }

    async fn hasten_scheduled(&self, batch: BatchId) -> Result<u64, ClientError> {
        let broker = self.broker();
        Ok(call!(self, connection => broker.hasten(connection, batch)))
    }

    /// Deletes keys that nobody reads any more. No state of a queue: that is the broker's alone.
    pub(crate) async fn delete_blobs(&self, keys: &[String]) -> Result<(), ClientError> {
        let broker = self.broker();
        call!(self, connection => broker.delete_blobs(connection, keys));
        Ok(())
    }

    /// The same for all clones.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.inner) as usize
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.inner.broker
    }

    pub(crate) fn collector(&self) -> &Collector {
        &self.inner.collector
    }

    pub(crate) fn attempts(&self) -> Attempts<'_> {
        self.inner.attempts()
    }

    /// How long a call is repeated.
    pub(crate) fn patience(&self) -> Duration {
        self.inner.patience
    }

    /// Epoch ms by the clock of Redis.
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.redis_ms + self.inner.clock.seen.elapsed().as_millis() as u64
    }

    /// Refuses so many bytes for which Redis has no room; asks it each time.
    pub(crate) async fn check_room(&self, bytes: u64) -> Result<(), ClientError> {
        let broker = self.broker();
        room_for(bytes, &call!(self, connection => broker.server_info(connection)))
    }

    /// Refuses while Redis is near its memory limit; asks it at most once a second.
    pub(crate) async fn check_memory(&self) -> Result<(), ClientError> {
        let guard = &self.inner.memory;
        if guard.is_due() {
            let broker = self.broker();
            guard.see(&call!(self, connection => broker.server_info(connection)));
        }
        guard.refusal().map_or(Ok(()), |reason| Err(ClientError::MemoryLimit(reason)))
    }
}

impl Inner {
    fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&self.pool, self.patience)
    }

    /// Sees that Redis is new enough, and reads its memory and its clock.
    async fn look_at_server(&self) -> Result<Clock, ClientError> {
        let broker = &self.broker;
        let info = call!(self, connection => broker.server_info(connection));
        if !info.is_supported() {
            let ((major, minor, patch), (floor_major, floor_minor, _)) = (info.version, ServerInfo::FLOOR);
            let reason =
                format!("it is version {major}.{minor}.{patch}, and at least {floor_major}.{floor_minor} is needed");
            return Err(ClientError::Refused { endpoint: self.endpoint.to_string(), reason });
        }
        self.memory.see(&info);
        let redis_ms = call!(self, connection => broker.redis_time_ms(connection));
        Ok(Clock { redis_ms, seen: Instant::now() })
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
