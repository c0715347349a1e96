//! Every log event by its name. Log lines carry it in the field `event`; `docs/architecture.md` has the table.

macro_rules! events {
    ($($(#[doc = $doc:literal])* $constant:ident = $name:literal;)*) => {
        $($(#[doc = $doc])* pub const $constant: &str = $name;)*
        /// All names with their meaning, for the documentation's table.
        pub const ALL: &[(&str, &str)] = &[$(($name, concat!($($doc),*))),*];
    };
}

events! {
    /// The client handed a message to the broker (`task`, `count`; `labels` and `key`, where it has any).
    TASK_SUBMITTED = "task_submitted";
    /// The script `enqueue` answered (`batch`, `seq`, `reply`).
    BATCH_ENQUEUED = "batch_enqueued";
    /// The script `claim` or `settle` gave a consumer a message (`task`, `count`, `consumer`).
    MESSAGE_CLAIMED = "message_claimed";
    /// The compute thread began a task (`task`, `kernel`, `attempt`).
    TASK_STARTED = "task_started";
    /// The compute thread ended a task (`task`, `outcome`, `run_ms`).
    TASK_ENDED = "task_ended";
    /// The script `settle` recorded outcomes (`task`, `count`, `consumer`).
    MESSAGE_SETTLED = "message_settled";
    /// A collector delivered an outcome to its caller (`task`, `outcome`).
    RESULT_DELIVERED = "result_delivered";
    /// Unstarted tasks went back to their queue (`consumer`, `messages`).
    MESSAGES_RELEASED = "messages_released";
    /// A message went to a parked list (`task`, `kernel`).
    MESSAGE_PARKED = "message_parked";
    /// A task waits for its next attempt (`task`, `attempt`, `delay_ms`).
    TASK_RETRIED = "task_retried";
    /// A task became a dead letter (`task`, `outcome`).
    TASK_BURIED = "task_buried";
    /// The supervisor is up (`worker`, `consumers`).
    WORKER_STARTED = "worker_started";
    /// The worker stops claiming (`worker`).
    WORKER_DRAINING = "worker_draining";
    /// The worker is gone (`worker`).
    WORKER_STOPPED = "worker_stopped";
    /// A consumer has its lease (`consumer`).
    CONSUMER_STARTED = "consumer_started";
    /// What a worker makes in each consumer could not be made; a successor tries again (`consumer`).
    CONSUMER_INIT_FAILED = "consumer_init_failed";
    /// A consumer makes room for a fresh process, after so many tasks or with so much memory (`consumer`, `held_bytes`).
    CONSUMER_RECYCLED = "consumer_recycled";
    /// A consumer left in order (`consumer`).
    CONSUMER_LEFT = "consumer_left";
    /// A process of the worker died (`consumer`, `cause`, `summary`).
    CONSUMER_DIED = "consumer_died";
    /// A consumer found that its lease is gone (`consumer`).
    LEASE_LOST = "lease_lost";
    /// The messages of a dead consumer were taken back (`consumer`, `suspects`, `returned`).
    CONSUMER_RECLAIMED = "consumer_reclaimed";
    /// A suspect was judged (`task`, `verdict`).
    SUSPECT_JUDGED = "suspect_judged";
    /// No process could be forked; it is tried again (`error`, `retry_ms`).
    FORK_FAILED = "fork_failed";
    /// A child has been forked (`pid`, `role`).
    CHILD_FORKED = "child_forked";
    /// A child could not set itself up and leaves (`error`).
    CHILD_FAILED = "child_failed";
    /// The supervisor killed a consumer that ignored the time limit of its task (`consumer`, `task`, `run_ms`).
    LIMIT_ENFORCED = "limit_enforced";
    /// Deaths are left to the expiry of the leases (`reports`).
    REPORTS_DROPPED = "reports_dropped";
    /// A setting is dangerous or has no effect (`setting`).
    SETTING_DOUBTFUL = "setting_doubtful";
    /// The agent died (`pid`, `summary`).
    AGENT_DIED = "agent_died";
    /// The agent died and has a successor (`pid`).
    AGENT_REPLACED = "agent_replaced";
    /// The connection to Redis broke; it is being established again (`error`).
    REDIS_DISCONNECTED = "redis_disconnected";
    /// The connection to Redis works again.
    REDIS_RECONNECTED = "redis_reconnected";
    /// A batch was sealed because its client is gone (`batch`).
    BATCH_ABANDONED = "batch_abandoned";
    /// The keys of a batch were deleted (`batch`).
    BATCH_SWEPT = "batch_swept";
    /// The hash of a batch cannot be read, so it cannot be swept; it is looked at again in an hour (`batch`).
    BATCH_UNREADABLE = "batch_unreadable";
}
