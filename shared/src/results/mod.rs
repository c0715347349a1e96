//! The read-only results collector.
//!
//! Redis wakes it through the batch's channel; it never polls. A message on that channel is a hint
//! only: what counts are the list of settled runs, into which a [`CollectorStream`] keeps a cursor,
//! and the outcomes stored beside it. So a lost connection loses nothing: when it stands again,
//! everybody looks again, and an index that was delivered is not delivered twice.

mod collector;
mod error;
mod hub;
mod hub_driver;
mod in_order;
mod items;
mod reader;
mod stream;

use crate::outcome::Outcome;
use crate::task_time::TaskTime;

pub use collector::Collector;
pub use error::ResultsError;
pub use hub::{Hint, Hub, Subscription};
pub use in_order::InOrder;
pub use stream::{CollectorStream, DeliveredRun};

/// What a collector knows of a task that has ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Collected {
    /// How it ended, and how long it ran. [`Outcome::Blob`] only where no blobs are to be read.
    Outcome(Outcome, TaskTime),
    /// It ended, its outcome was delivered to another collector and forgotten since.
    Delivered,
}
