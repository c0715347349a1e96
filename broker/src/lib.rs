//! The only code that changes the state of a queue.
//!
//! One concrete [`Broker`], one operation per Lua script. It holds no connection: every operation
//! takes the one to use, so that a consumer can keep its own and a client can use a pool. Every
//! operation may be repeated identically after a lost reply.

mod blobs;
mod cancel;
mod claim;
mod ending;
mod enqueue;
mod error;
mod forget;
pub mod fsck;
mod inspect;
mod judge;
mod lease;
mod letters;
mod locate;
mod manage;
mod promote;
mod publish;
mod purge;
mod reclaim;
mod release;
mod reply;
mod revive;
pub mod script;
mod settle;
mod shared;
mod sweep;
mod tick;
mod touch;
mod verdict;
mod weed;

pub use cancel::{CancelMark, Cancelled};
pub use claim::{Budget, Call, Claim, ClaimFlag, Claimed, ClaimedMessage, Parked, Sources};
pub use ending::{Dead, Destination, Ending, ParkedList, Replacement, Run};
pub use enqueue::{Enqueue, Enqueued, Once, label_field};
pub use error::BrokerError;
pub use inspect::{BatchRecord, BatchState, KernelRecord, QueueStats, ServerInfo};
pub use lease::{Left, Renewed};
pub use letters::LetterRange;
pub use locate::{Located, Place};
pub use manage::{Managed, Wish};
pub use purge::Purged;
pub use reclaim::{DeathReport, Reclaimed};
pub use release::Release;
pub use revive::Revived;
pub use settle::Settlement;
pub use sweep::Swept;
pub use tick::Tick;
pub use verdict::{EffectiveOptions, verdict, verdict_unread};

use std::sync::Arc;

use gristmill_shared::{Keys, Namespace};
use script::Scripts;

/// All operations on the queues of one deployment. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    keys: Keys,
    scripts: Arc<Scripts>,
}

impl Broker {
    /// The broker of one namespace.
    pub fn new(namespace: &Namespace) -> Self {
        Self::with_scripts(namespace, Scripts::new())
    }

    /// A broker with other scripts, for tests that show what a script's fence is good for.
    pub fn with_scripts(namespace: &Namespace, scripts: Scripts) -> Self {
        Self { keys: Keys::new(namespace), scripts: Arc::new(scripts) }
    }

    /// The keys of the deployment.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}
