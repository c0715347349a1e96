//! One table of every default and every limit. Units stand in the names or in the type.

mod table;

use std::time::Duration;

pub use table::Setting;
use table::table;

table! {
/// The Redis that clients and workers use unless told otherwise.
pub const REDIS_URL: &str = "redis://127.0.0.1:6379";
/// The namespace, which is the hash tag of all keys.
pub const NAMESPACE: &str = "gm";
/// The queue of a task that names none.
pub const QUEUE: &str = "default";

/// A consumer's right to its in-flight messages lasts this long after each renewal.
pub const LEASE: Duration = Duration::from_secs(10);
/// The shortest and the longest lease that a worker may be given. Deadlines beyond come from a clock that
/// jumped back.
pub const LEASE_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// How often a consumer renews its lease.
pub const RENEWAL: Duration = Duration::from_secs(3);
/// How often an agent ticks.
pub const TICK: Duration = Duration::from_secs(1);
/// A gap between ticks longer than this grants every lease a grace period.
pub const TICK_GAP: Duration = Duration::from_secs(3);
/// How long a draining worker lets running tasks finish.
pub const DRAIN_GRACE: Duration = Duration::from_secs(25);

/// How long a message may wait before it expires, counted from its due time.
pub const MESSAGE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long results stay after the batch finished.
pub const RESULT_TTL: Duration = Duration::from_secs(24 * 3600);
/// Bytes that the results of one batch may take in Redis; beyond that nothing more of it is started.
pub const RESULT_BYTES_MAX: u64 = 1 << 30;
/// Blobs live longer than any batch that could name them.
pub const BLOB_MARGIN: Duration = Duration::from_secs(24 * 3600);
/// An open batch which nobody touched for so long is sealed as abandoned.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(5 * 60);
/// How often a client touches its open batches.
pub const TOUCH: Duration = Duration::from_secs(60);
/// How long a kernel stays listed after it was last offered.
pub const KERNEL_LISTED: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an idempotency key is kept.
pub const KEY_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// The shortest and the longest time that an idempotency key may be kept.
pub const KEY_WINDOW_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600);
/// Longest idempotency key, bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Most labels of one batch.
pub const LABELS_MAX: usize = 16;
/// Longest name of a label, bytes.
pub const LABEL_NAME_BYTES_MAX: usize = 64;
/// Longest value of a label, bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;

/// Retries of kernel errors beyond the first attempt.
pub const RETRIES: u16 = 0;
/// Most retries that a message can count.
pub const RETRIES_MAX: u16 = u16::MAX - 1;
/// First back-off between attempts; doubles each time, full jitter.
pub const BACKOFF: Duration = Duration::from_secs(1);
/// Longest back-off.
pub const BACKOFF_MAX: Duration = Duration::from_secs(600);
/// Crashes charged to one task before it becomes a dead letter.
pub const CRASHES_MAX: u8 = 3;
/// Losses charged to one message before it becomes a dead letter.
pub const LOSSES_MAX: u8 = 10;

/// Dead letters kept in each queue: how many, and for how long.
pub const DEAD_LETTERS_MAX: u64 = 10_000;
/// Ends before the last that a retried task remembers.
pub const HISTORY_MAX: usize = 10;
/// Longest text kept of such an end, bytes.
pub const HISTORY_TEXT_BYTES_MAX: usize = 512;
/// Age at which a dead letter is dropped.
pub const DEAD_LETTERS_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Messages that one queue may hold before enqueue refuses, unless the queue sets its own limit.
pub const QUEUE_DEPTH_MAX: u64 = 50_000_000;
/// Share of `maxmemory` above which enqueueing is refused, in percent.
pub const MEMORY_REFUSE_PERCENT: u64 = 80;

/// Longest time to wait for a connection to be established.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time to wait for an answer at first: after so long a connection may have died without a word. Doubles with each
/// answer that does not come.
pub const RESPONSE_FIRST: Duration = Duration::from_secs(2);
/// Longest time to wait for the answer of a call that does not block.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle consumer waits at its doorbells per call.
pub const DOORBELL_BLOCK: Duration = Duration::from_secs(2);
/// Added to the block time of a blocking call to get its response timeout.
pub const BLOCK_MARGIN: Duration = Duration::from_secs(5);
/// How long a command of the CLI tries to reach Redis.
pub const CLI_REACH: Duration = Duration::from_secs(5);
/// How long a worker tries to reach Redis.
pub const WORKER_REACH: Duration = Duration::from_secs(60);

/// Largest message, header and body, bytes.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Most messages in one call.
pub const CALL_MESSAGES_MAX: usize = 1_000;
/// Most bytes in one call.
pub const CALL_BYTES_MAX: usize = 1024 * 1024;
/// Most tasks in one message.
pub const MESSAGE_TASKS_MAX: u32 = 4_096;
/// A chunk is filled up to this many bytes.
pub const CHUNK_BYTES: usize = 48 * 1024;
/// Most messages that a consumer holds in flight.
pub const INFLIGHT_MESSAGES_MAX: usize = 256;
/// Most bytes that a consumer holds in flight.
pub const INFLIGHT_BYTES_MAX: usize = 1024 * 1024;

/// An argument or an output above this size goes to a blob.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Blobs are stored in parts of this size.
pub const BLOB_PART_BYTES: usize = 8 * 1024 * 1024;
/// Largest single argument or output.
pub const BLOB_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest shared input of a batch.
pub const SHARED_BYTES_MAX: u64 = 4 << 30;
/// What a consumer keeps of shared input, unless it is told otherwise; less where its memory is limited.
pub const SHARED_CACHE_BYTES: u64 = 1 << 30;
/// Shared input that no task has read for so long is not kept.
pub const SHARED_UNUSED: Duration = Duration::from_secs(600);
/// Inline outputs of one run stop here; what comes after goes to blobs.
pub const RUN_BYTES_MAX: usize = 512 * 1024;

/// Runs are stored in buckets of this many task indices.
pub const RESULTS_PER_BUCKET: u64 = 8_192;
/// Outcomes that a consumer gathers before it settles.
pub const SETTLE_OUTCOMES_MAX: usize = 64;
/// Longest text kept of an error message, bytes.
pub const ERROR_TEXT_BYTES_MAX: usize = 4_096;
/// Most causes kept of an error.
pub const ERROR_CHAIN_MAX: usize = 8;
/// Longest name kept of an error's kind, bytes.
pub const ERROR_KIND_BYTES_MAX: usize = 128;
/// Longest place kept of a panic, bytes.
pub const ERROR_PLACE_BYTES_MAX: usize = 256;
/// Largest value that a kernel may attach to an error, bytes of MessagePack.
pub const ERROR_DETAILS_BYTES_MAX: usize = 16 * 1024;
/// Longest progress note of a task, bytes.
pub const PROGRESS_BYTES_MAX: usize = 120;
/// Integers in headers and counters stay exact in Lua up to here.
pub const INTEGER_MAX: u64 = 1 << 53;
/// Most task indices that one batch can have cancelled one by one; beyond that, cancel the batch.
pub const CANCELLED_TASKS_BYTES_MAX: usize = 64 * 1024;
}
