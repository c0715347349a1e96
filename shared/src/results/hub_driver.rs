//! The background task that owns the subscription connection.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, RedisResult};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::hub::{Ack, Command, Signal};
use crate::connection::{ConnectionError, Endpoint, Patience, Timeouts, client};
use crate::events;

/// A connection whose other end vanished is silent; only a question shows it.
const PING_EVERY: Duration = Duration::from_secs(2);
/// Commands taken, and channels named, at once.
const PIECE: usize = 256;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_millis(500);

pub(super) struct Driver {
    endpoint: Endpoint,
    timeouts: Timeouts,
    /// How long an answer may take.
    answers: Arc<Patience>,
    /// How old the connection is, as the patience counts.
    age: u64,
    commands: mpsc::UnboundedReceiver<Command>,
    channels: HashMap<String, Channel>,
    /// Whose subscription Redis has not confirmed yet.
    waiting: Vec<(String, Ack)>,
    /// Channels for which the connection may have to be told something.
    touched: Vec<String>,
}

/// What subscribers want.
struct Channel {
    news: watch::Sender<Signal>,
    users: usize,
}

/// What a connection has confirmed.
struct Live {
    sink: PubSubSink,
    stream: PubSubStream,
    subscribed: HashSet<String>,
}

enum End {
    /// Nobody will ever want anything again.
    Over,
    /// Nobody wants anything now.
    Idle,
    Lost(ConnectionError),
}

impl Driver {
    pub(super) fn new(
        endpoint: Endpoint,
        timeouts: Timeouts,
        answers: Arc<Patience>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let (channels, waiting, touched) = Default::default();
        Self { endpoint, timeouts, answers, age: 0, commands, channels, waiting, touched }
    }

    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        let mut broke = false;
        loop {
            while self.channels.is_empty() {
                let Some(command) = self.commands.recv().await else { return };
                self.apply(command);
            }
            let end = match self.open().await {
                Ok(live) => {
                    pause = PAUSE_FIRST;
                    if std::mem::take(&mut broke) {
                        tracing::info!(event = events::REDIS_RECONNECTED, redis = %self.endpoint, "Redis answers again");
                    }
                    self.serve(live).await
                }
                Err(error) => End::Lost(error),
            };
            match end {
                End::Over => return,
                End::Idle => continue,
                End::Lost(error) => {
                    if !std::mem::replace(&mut broke, true) {
                        tracing::warn!(
                            event = events::REDIS_DISCONNECTED, redis = %self.endpoint, %error,
                            "the subscription to results broke"
                        );
                        // Who waits shall find out for himself, by reading, whether Redis is gone for good.
                        self.wake_all();
                    }
                    if !error.is_retryable() {
                        self.refuse(&error);
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LAST);
            while let Ok(command) = self.commands.try_recv() {
                self.apply(command);
            }
        }
    }

    fn apply(&mut self, command: Command) {
        let channel = match command {
            Command::Subscribe { channel, ack } => {
                let new = || Channel { news: watch::Sender::new(Signal::default()), users: 0 };
                self.channels.entry(channel.clone()).or_insert_with(new).users += 1;
                self.waiting.push((channel.clone(), ack));
                channel
            }
            Command::Unsubscribe { channel } => {
                if let Some(entry) = self.channels.get_mut(&channel) {
                    entry.users -= 1;
                    if entry.users == 0 {
                        self.channels.remove(&channel);
                    }
                }
                channel
            }
        };
        self.touched.push(channel);
    }

    /// A new connection, subscribed to all that is wanted; then everybody looks at what was missed.
    async fn open(&mut self) -> Result<Live, ConnectionError> {
        self.age = self.answers.age();
        let client = client(&self.endpoint, &self.timeouts).await?;
        let pubsub = self.within(self.timeouts.connect, client.get_async_pubsub()).await?;
        let (sink, stream) = pubsub.split();
        let mut live = Live { sink, stream, subscribed: HashSet::new() };
        self.touched = self.channels.keys().cloned().collect();
        self.reconcile(&mut live).await?;
        self.wake_all();
        Ok(live)
    }

    async fn serve(&mut self, mut live: Live) -> End {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        let mut commands = Vec::new();
        loop {
            let result = tokio::select! {
                message = live.stream.next() => match message {
                    Some(message) => { self.deliver(&message); Ok(()) }
                    None => Err(ConnectionError::closed(&self.endpoint)),
                },
                count = self.commands.recv_many(&mut commands, PIECE) => {
                    if count == 0 {
                        return End::Over;
                    }
                    commands.drain(..).for_each(|command| self.apply(command));
                    self.reconcile(&mut live).await
                }
                () = self.answers.until_doubts(self.age) => Err(ConnectionError::closed(&self.endpoint)),
                _ = ping.tick() => {
                    if self.channels.is_empty() {
                        return End::Idle;
                    }
                    self.answer(live.sink.ping::<redis::Value>()).await.map(drop)
                }
            };
            if let Err(error) = result {
                return End::Lost(error);
            }
        }
    }

    /// Tells Redis what has changed since it was told last, and the subscribers that it knows.
    async fn reconcile(&mut self, live: &mut Live) -> Result<(), ConnectionError> {
        let touched: HashSet<String> = self.touched.drain(..).collect();
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            touched.into_iter().partition(|channel| self.channels.contains_key(channel));
        let new: Vec<_> = wanted.into_iter().filter(|channel| !live.subscribed.contains(channel)).collect();
        for piece in new.chunks(PIECE) {
            self.answer(live.sink.subscribe(piece)).await?;
            live.subscribed.extend(piece.iter().cloned());
        }
        let old: Vec<_> = unwanted.into_iter().filter(|channel| live.subscribed.remove(channel)).collect();
        for piece in old.chunks(PIECE) {
            self.answer(live.sink.unsubscribe(piece)).await?;
        }
        for (channel, ack) in self.waiting.drain(..) {
            if let Some(entry) = self.channels.get(&channel) {
                // Who does not wait any more has sent its Unsubscribe.
                let _ = ack.send(Ok(entry.news.subscribe()));
            }
        }
        Ok(())
    }

    fn deliver(&self, message: &Msg) {
        let Some(channel) = self.channels.get(message.get_channel_name()) else { return };
        channel.news.send_modify(|signal| {
            if let Some((b'o', run)) = message.get_payload_bytes().split_first() {
                signal.outcome = Some(run.to_vec());
            }
        });
    }

    fn wake_all(&self) {
        for channel in self.channels.values() {
            channel.news.send_modify(|_| {});
        }
    }

    /// Tells who waits for its subscription that there will be none.
    fn refuse(&mut self, error: &ConnectionError) {
        for (_, ack) in self.waiting.drain(..) {
            let _ = ack.send(Err(error.clone()));
        }
    }

    async fn answer<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<T, ConnectionError> {
        let (begun, waits) = (Instant::now(), self.answers.now());
        let answer = self.within(waits, answer).await;
        match &answer {
            Ok(_) => self.answers.answered(begun.elapsed()),
            Err(_) if begun.elapsed() >= waits => self.answers.missed(waits, self.age),
            Err(_) => {}
        }
        answer
    }

    async fn within<T>(
        &self,
        time: Duration,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, ConnectionError> {
        match timeout(time, answer).await {
            Ok(result) => result.map_err(|error| ConnectionError::of(&self.endpoint, &error)),
            Err(_) => Err(ConnectionError::no_answer(&self.endpoint, time)),
        }
    }
}
