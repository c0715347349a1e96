//! The background task of one batch: feeds, delivers, keeps the batch alive, and cancels.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use gristmill_shared::defaults::TOUCH;
use gristmill_shared::{BatchId, OutcomeKind};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval};

use super::deliver::{Deliverer, Delivery};
use super::feed::{Feeder, Source};
use super::state::{Mode, Phase, Shared};
use crate::calls::call;
use crate::client::Client;
use crate::error::ClientError;
use crate::sender::Sender;

/// How often the living consumers are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(1);
/// Runs that wait for the reader.
const DELIVERIES: usize = 16;

/// Starts it.
pub(super) fn spawn(client: Client, source: Source, sender: Sender) -> (Arc<Shared>, mpsc::Receiver<Delivery>) {
    let options = &sender.packer().options;
    let result_bytes = options.effective_result_bytes();
    let shared = Arc::new(Shared::new(options.chunk, result_bytes, options.acknowledge.unwrap_or(false)));
    let (to, from) = mpsc::channel(DELIVERIES);
    let batch = sender.packer().batch;
    let feeder = Feeder::new(source, sender, shared.clone());
    let driver = Driver { client: client.clone(), batch, shared: shared.clone(), _alive: shared.mode.subscribe() };
    let deliverer = Deliverer::new(client, batch, shared.clone(), to, result_bytes);
    tokio::spawn(driver.run(feeder, deliverer));
    (shared, from)
}

struct Driver {
    client: Client,
    batch: BatchId,
    shared: Arc<Shared>,
    /// While it is there, the handle knows that somebody hears its wishes.
    _alive: watch::Receiver<Mode>,
}

impl Driver {
    async fn run(self, feeder: Feeder, deliverer: Deliverer) {
        let ended = tokio::select! {
            ended = deliverer.run() => match ended {
                Ok(delivered) => {
                    self.free_input().await;
                    match self.finished().await {
                        Ok(()) => deliverer.linger(delivered).await,
                        failed => failed,
                    }
                }
                Err(error) => Err(error),
            },
            ended = self.live(feeder) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(batch = %self.batch, %error, "the batch cannot go on");
            self.shared.phase.send_replace(Phase::Failed(error.clone()));
            // The reader may be gone already; then nobody needs to know.
            let _ = deliverer.to.send(Delivery::Failed(error)).await;
        }
    }

    /// All outcomes are delivered. If that was not the feeder's doing, somebody else cancelled the batch.
    /// Where the results took too much room, the caller must learn that items of its own were not even enqueued.
    async fn finished(&self) -> Result<(), ClientError> {
        self.shared.phase.send_if_modified(|phase| {
            let early = matches!(phase, Phase::Feeding);
            if early {
                *phase = Phase::Cancelled;
            }
            early
        });
        let cancelled = matches!(*self.shared.phase.borrow(), Phase::Cancelled);
        if !cancelled || self.shared.mode() != Mode::Attached {
            return Ok(());
        }
        self.client.over_budget(self.batch).await?.map_or(Ok(()), Err)
    }

    /// Shared input is the largest of all that a batch keeps in Redis, and nobody needs it any more, except for dead
    /// letters that may be tried again.
    async fn free_input(&self) {
        let (input, summary) = (self.shared.input.get(), self.shared.summary());
        let has_dead_letters = OutcomeKind::ALL.iter().any(|&kind| kind.is_dead_letter() && summary.count(kind) > 0);
        let ours = matches!(self.shared.mode(), Mode::Attached | Mode::Stopped | Mode::Dropped);
        if let Some(input) = input.filter(|_| ours && !has_dead_letters) {
            input.delete(&self.client).await;
        }
    }

    /// Feeds to the end, then stays until the handle wants no more of the batch.
    async fn live(&self, mut feeder: Feeder) -> Result<(), ClientError> {
        let ended = tokio::select! {
            ended = feeder.run() => ended,
            never = self.keep() => match never {},
        };
        match ended {
            Err(ClientError::BatchSealed(_)) => {
                if self.shared.mode() == Mode::Detached
                    && let Some(error) = self.client.over_budget(self.batch).await?
                {
                    return Err(error);
                }
                // Somebody else cancelled it: what was enqueued before still gets its outcomes.
                self.shared.phase.send_replace(Phase::Cancelled);
            }
            other => other?,
        }
        let mut mode = self.shared.mode.subscribe();
        loop {
            let now = *mode.borrow_and_update();
            match now {
                Mode::Detached => return Ok(()),
                Mode::Left => return self.seal(&mut feeder).await,
                Mode::Dropped => return self.cancel(&mut feeder).await,
                Mode::Stopped if !matches!(*self.shared.phase.borrow(), Phase::Cancelled) => {
                    self.cancel(&mut feeder).await?;
                }
                Mode::Stopped | Mode::Attached => {}
            }
            tokio::select! {
                changed = mode.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = Feeder::until_look_back() => self.look_back(&mut feeder).await?,
            }
        }
    }

    /// Everything was sent, but Redis may come back without the last of it.
    async fn look_back(&self, feeder: &mut Feeder) -> Result<(), ClientError> {
        if !matches!(*self.shared.phase.borrow(), Phase::Sealed) {
            return Ok(());
        }
        match feeder.look_back().await {
            Err(ClientError::BatchSealed(_)) => {
                // Somebody else cancelled it, before Redis had all of it again.
                self.shared.phase.send_replace(Phase::Cancelled);
                Ok(())
            }
            other => other,
        }
    }

    async fn cancel(&self, feeder: &mut Feeder) -> Result<(), ClientError> {
        // Without a task there is nothing to cancel, but somebody may wait for the end of the batch.
        if feeder.is_empty() {
            feeder.seal().await?;
        } else {
            self.client.cancel_unstarted(self.batch).await?;
        }
        self.shared.phase.send_replace(Phase::Cancelled);
        Ok(())
    }

    async fn seal(&self, feeder: &mut Feeder) -> Result<(), ClientError> {
        if matches!(*self.shared.phase.borrow(), Phase::Starting | Phase::Feeding) {
            feeder.seal().await?;
            self.shared.phase.send_replace(Phase::Sealed);
        }
        Ok(())
    }

    /// Keeps an open batch from being taken for abandoned, and counts who could work on it. Failures
    /// are not told: the feeder meets them as well.
    async fn keep(&self) -> Infallible {
        let mut ticks = interval(COUNTED_EVERY);
        let mut touched = Instant::now();
        loop {
            ticks.tick().await;
            if let Ok(consumers) = self.client.live_consumers().await {
                self.shared.see_consumers(consumers);
            }
            if touched.elapsed() >= TOUCH && self.touch().await.is_ok() {
                touched = Instant::now();
            }
        }
    }

    async fn touch(&self) -> Result<(), ClientError> {
        let (client, batches) = (&self.client, [self.batch]);
        call!(client, connection => client.broker().touch(connection, &batches));
        Ok(())
    }
}
