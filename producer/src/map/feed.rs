//! Feeds a batch: takes arguments from the source, packs them, and enqueues what the window allows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use gristmill_shared::defaults::{CALL_BYTES_MAX, MESSAGE_BYTES_MAX};

use super::state::{Phase, Shared};
use crate::error::ClientError;
use crate::options::WhenFull;
use crate::pack::{Chunk, Packed};
use crate::sender::{REFUSED_PAUSE, Sender, tell_waiting};

/// A full queue in which there is room again is asked no more often than this.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// The MessagePack of one task's arguments after the other.
pub(crate) type Source = BoxStream<'static, Result<Vec<u8>, ClientError>>;

/// While there is nothing to send: how often it is looked whether Redis still knows what was sent.
const LOOK_BACK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Feeder {
    source: Source,
    sender: Sender,
    shared: Arc<Shared>,
    /// Index of the next task.
    next: u64,
    /// An argument that did not fit into the last call.
    held: Option<Vec<u8>>,
    /// The source has ended.
    ended: bool,
}

/// What one call will carry.
struct Load {
    messages: Vec<Packed>,
    /// Whether the source has ended.
    end: bool,
}

impl Feeder {
    pub fn new(source: Source, sender: Sender, shared: Arc<Shared>) -> Self {
        Self { source, sender, shared, next: 0, held: None, ended: false }
    }

    /// Feeds until the source ends, and seals; or until the handle wants no more.
    pub async fn run(&mut self) -> Result<(), ClientError> {
        let fed = self.feed().await;
        let nothing_happened = match &fed {
            Ok(()) => true,
            Err(error) => error.is_refusal(),
        };
        if self.is_empty() && nothing_happened {
            self.sender.unshare().await;
        }
        fed
    }

    async fn feed(&mut self) -> Result<(), ClientError> {
        let mut mode = self.shared.mode.subscribe();
        loop {
            let Some((room, chunk)) = self.wait_for_room().await? else { return Ok(()) };
            tokio::select! {
                first = self.wait_for_item() => first?,
                _ = mode.wait_for(|mode| mode.ends_feed()) => return Ok(()),
            }
            if self.is_empty() && self.sender.shared.is_some() {
                let waits = self.sender.packer().options.when_full != Some(WhenFull::Fail);
                tokio::select! {
                    shared = self.sender.share(waits) => shared?,
                    _ = mode.wait_for(|mode| mode.ends_feed()) => return Ok(()),
                }
                if let Some(input) = &self.sender.shared {
                    // It is uploaded once.
                    let _ = self.shared.input.set(input.clone());
                }
            }
            let load = self.gather(room, chunk)?;
            if !self.send(&load).await? {
                return Ok(());
            }
            if load.end {
                self.shared.phase.send_replace(Phase::Sealed);
                return Ok(());
            }
            self.shared.phase.send_replace(Phase::Feeding);
        }
    }

    /// Whether anything was enqueued.
    pub fn is_empty(&self) -> bool {
        !self.sender.has_sent()
    }

    /// Seals what is enqueued, so that whoever waits for the batch sees its end.
    pub async fn seal(&mut self) -> Result<(), ClientError> {
        self.sender.send(&[], true).await
    }

    /// Sends again what Redis has forgotten.
    pub async fn look_back(&mut self) -> Result<(), ClientError> {
        if self.is_empty() { Ok(()) } else { self.sender.look_back().await }
    }

    /// The time until it should be looked.
    pub async fn until_look_back() {
        tokio::time::sleep(LOOK_BACK_EVERY).await;
    }

    /// Waits until something may be enqueued; none: the handle wants no more.
    async fn wait_for_room(&mut self) -> Result<Option<(usize, u32)>, ClientError> {
        let mut mode = self.shared.mode.subscribe();
        loop {
            if mode.borrow_and_update().ends_feed() {
                return Ok(None);
            }
            let (room, chunk) = self.shared.room(self.left());
            if room > 0 {
                return Ok(Some((room, chunk)));
            }
            tokio::select! {
                () = self.shared.room.notified() => {}
                _ = mode.changed() => {}
                () = Self::until_look_back() => self.look_back().await?,
            }
        }
    }

    /// How many tasks are known to remain; without a number there may be any.
    fn left(&self) -> usize {
        let (least, most) = self.source.size_hint();
        if most == Some(least) { least } else { usize::MAX }
    }

    /// Waits until the next item is here, or the source has ended.
    async fn wait_for_item(&mut self) -> Result<(), ClientError> {
        while self.held.is_none() && !self.ended {
            tokio::select! {
                next = self.source.next() => match next {
                    Some(arg) => self.held = Some(arg?),
                    None => self.ended = true,
                },
                () = Self::until_look_back() => self.look_back().await?,
            }
        }
        Ok(())
    }

    /// Takes what the source has ready, up to a call's size; waits for nothing.
    fn gather(&mut self, room: usize, chunk_tasks: u32) -> Result<Load, ClientError> {
        let mut load = Load { messages: Vec::new(), end: false };
        let mut chunk = Chunk::default();
        let mut bytes = 0;
        loop {
            let arg = match self.held.take() {
                Some(arg) => arg,
                None if self.ended => break,
                None => match self.source.next().now_or_never() {
                    Some(Some(arg)) => arg?,
                    Some(None) => {
                        self.ended = true;
                        break;
                    }
                    None => break,
                },
            };
            if !chunk.fits(&arg, chunk_tasks) {
                bytes += self.pack(&mut chunk, &mut load)?;
                if load.messages.len() >= room || bytes > CALL_BYTES_MAX - MESSAGE_BYTES_MAX {
                    self.held = Some(arg);
                    return Ok(load);
                }
            }
            chunk.push(arg);
        }
        if !chunk.is_empty() {
            self.pack(&mut chunk, &mut load)?;
        }
        load.end = self.ended;
        Ok(load)
    }

    /// Packs what has gathered; returns its size, blob included.
    fn pack(&mut self, chunk: &mut Chunk, load: &mut Load) -> Result<usize, ClientError> {
        let packed = self.sender.packer().pack(self.next, chunk.take(), self.sender.expires_at_ms())?;
        self.next += u64::from(packed.count);
        let bytes = packed.size();
        load.messages.push(packed);
        Ok(bytes)
    }

    /// Enqueues; what finds no room waits for it, unless that is not wanted. Of a load that is larger than what the
    /// queue may hold, first goes what fits. False: the handle wanted no more before all of it was enqueued.
    async fn send(&mut self, load: &Load) -> Result<bool, ClientError> {
        for message in &load.messages {
            self.shared.sent(message);
        }
        let mut left = &load.messages[..];
        let mut take = left.len();
        let mut told = false;
        let options = &self.sender.packer().options;
        let (waits, deadline) = (options.when_full != Some(WhenFull::Fail), options.room_deadline());
        loop {
            match self.sender.send(&left[..take], load.end && take == left.len()).await {
                Ok(()) if take == left.len() => return Ok(true),
                Ok(()) => left = &left[take..],
                Err(ClientError::QueueFull { depth, limit, .. }) if depth < limit && limit - depth < take as u64 => {
                    take = (limit - depth) as usize;
                    continue;
                }
                Err(refusal) if refusal.is_refusal() && waits && Instant::now() < deadline => {
                    // With tasks of its own on their way, room comes by itself.
                    let others = self.shared.outstanding() > left.len() as u64;
                    if !others && !std::mem::replace(&mut told, true) {
                        tell_waiting(self.sender.packer().batch, &refusal);
                    }
                    if !pause(&self.shared, matches!(refusal, ClientError::QueueFull { .. })).await {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
            take = left.len();
        }
    }
}

/// Waits before a refused call is repeated, in a full queue only until tasks of our own have made room; false: the
/// handle wants no more.
async fn pause(shared: &Shared, full: bool) -> bool {
    let mut mode = shared.mode.subscribe();
    let room = async {
        shared.room.notified().await;
        tokio::time::sleep(ROOM_PAUSE).await;
    };
    tokio::select! {
        () = tokio::time::sleep(REFUSED_PAUSE) => true,
        () = room, if full => true,
        _ = mode.wait_for(|mode| mode.ends_feed()) => false,
    }
}
