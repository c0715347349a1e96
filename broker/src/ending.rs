//! How messages end: what settle, judge and purge write.

use gristmill_shared::dead_letter::Epitaph;
use gristmill_shared::outcome::encode_run;
use gristmill_shared::{BatchId, KernelName, Keys, Message, Outcome, QueueName, TaskTime, codec, defaults};
use redis::ScriptInvocation;

use crate::Broker;
use crate::error::BrokerError;

/// Outcomes, replacements and dead letters which together cover some messages exactly.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ending {
    /// Final outcomes, in runs of consecutive tasks.
    pub runs: Vec<Run>,
    /// Messages for the tasks that have no final outcome.
    pub replacements: Vec<Replacement>,
    /// Letters for those of the outcomes that ended badly; such an outcome is a run of one.
    pub dead: Vec<Dead>,
}

/// Final outcomes of consecutive tasks of one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The batch.
    pub batch: BatchId,
    /// Whether it is a batch of one.
    pub single: bool,
    /// Index of the first task.
    pub first: u64,
    /// One outcome per task.
    pub outcomes: Vec<Outcome>,
    /// How long each task ran; shorter where that is unknown.
    pub times: Vec<TaskTime>,
}

/// A message that goes back, for tasks without a final outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Replacement {
    /// The message.
    pub message: Message,
    /// Where it goes.
    pub to: Destination,
}

/// Where a replacement goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To the front of its lane: it had its turn.
    Front,
    /// To the back of its lane.
    Back,
    /// Into the scheduled set.
    Scheduled {
        /// When it is due, epoch ms.
        due_at_ms: u64,
    },
    /// Into a parked list.
    Parked(ParkedList),
}

/// Which parked list of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ParkedList {
    /// For an unknown kernel.
    Kernel(KernelName),
    /// For an unknown version of the body.
    Version(u8),
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Dead {
    /// Why it is dead.
    pub epitaph: Epitaph,
    /// The message of the one task.
    pub message: Message,
}

/// The parts of an ending as the scripts count them.
#[derive(Default)]
struct Declared {
    queues: Vec<QueueName>,
    batches: Vec<BatchId>,
    buckets: Vec<(BatchId, u64)>,
    parked: Vec<String>,
}

/// Place of `item` in `list` as Lua counts, from 1; appended if it is new.
fn number<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    match list.iter().position(|known| *known == item) {
        Some(at) => at + 1,
        None => {
            list.push(item);
            list.len()
        }
    }
}

impl Broker {
    /// Writes keys and arguments of an ending. `queues` come first among the declared queues; `ended` are
    /// the batch and queue of the messages that end. Returns all declared queues.
    pub(crate) fn write_ending(
        &self,
        script: &mut ScriptInvocation<'_>,
        ending: &Ending,
        queues: &[QueueName],
        ended: &[(BatchId, QueueName)],
    ) -> Result<Vec<QueueName>, BrokerError> {
        let mut declared = Declared { queues: queues.to_vec(), ..Declared::default() };
        for (batch, queue) in ended {
            number(&mut declared.batches, *batch);
            number(&mut declared.queues, queue.clone());
        }
        let runs = encode_runs(ending, &mut declared)?;
        let replacements = self.encode_replacements(ending, &mut declared)?;
        let dead = encode_dead(ending, &mut declared)?;

        self.write_queues(script, &declared.queues);
        script.arg(declared.batches.len());
        for batch in &declared.batches {
            script.key(self.keys.batch(*batch)).key(self.keys.runs(*batch));
            script.arg(batch.to_string()).arg(self.keys.done(*batch));
        }
        script.arg(declared.buckets.len()).arg(declared.parked.len());
        for (batch, bucket) in &declared.buckets {
            script.key(self.keys.results(*batch, *bucket));
        }
        script.key(declared.parked);
        script.arg(runs.len());
        for (batch, bucket, first, value, blob_bytes) in runs {
            script.arg(batch).arg(bucket).arg(first).arg(value).arg(blob_bytes);
        }
        script.arg(replacements.len());
        for (kind, argument, message) in replacements {
            script.arg(kind).arg(argument).arg(message);
        }
        script.arg(dead.len());
        for (queue, task, record) in dead {
            script.arg(queue).arg(task).arg(record);
        }
        script.arg(defaults::DEAD_LETTERS_MAX).arg(defaults::DEAD_LETTERS_AGE.as_millis() as u64);
        Ok(declared.queues)
    }

    fn encode_replacements(
        &self,
        ending: &Ending,
        declared: &mut Declared,
    ) -> Result<Vec<EncodedReplacement>, BrokerError> {
        let encode = |replacement: &Replacement| {
            let Replacement { message, to } = replacement;
            let queue = &message.header.queue;
            number(&mut declared.queues, queue.clone());
            let (kind, argument) = match to {
                Destination::Front => ("f", 0),
                Destination::Back => ("b", 0),
                Destination::Scheduled { due_at_ms } => ("s", *due_at_ms),
                Destination::Parked(list) => ("p", number(&mut declared.parked, self.parked_key(queue, list)) as u64),
            };
            Ok((kind, argument, message.encode()?))
        };
        ending.replacements.iter().map(encode).collect()
    }
}

/// Kind, argument, message.
type EncodedReplacement = (&'static str, u64, Vec<u8>);
/// Batch, bucket or 0, first index, outcomes, bytes of the blobs that they name.
type EncodedRun = (usize, usize, u64, Vec<u8>, u64);

fn encode_runs(ending: &Ending, declared: &mut Declared) -> Result<Vec<EncodedRun>, BrokerError> {
    let encode = |run: &Run| {
        let batch = number(&mut declared.batches, run.batch);
        let bucket = (run.batch, Keys::bucket_of(run.first));
        let bucket = if run.single { 0 } else { number(&mut declared.buckets, bucket) };
        let blob_bytes =
            run.outcomes.iter().map(|outcome| if let Outcome::Blob(blob) = outcome { blob.bytes } else { 0 });
        Ok((batch, bucket, run.first, encode_run(&run.outcomes, &run.times)?, blob_bytes.sum()))
    };
    ending.runs.iter().map(encode).collect()
}

fn encode_dead(ending: &Ending, declared: &mut Declared) -> Result<Vec<(usize, String, Vec<u8>)>, BrokerError> {
    let encode = |dead: &Dead| {
        let queue = number(&mut declared.queues, dead.message.header.queue.clone());
        let epitaph = codec::encode(&dead.epitaph)?;
        let mut record = (epitaph.len() as u32).to_be_bytes().to_vec();
        record.extend(epitaph);
        record.extend(dead.message.encode()?);
        Ok((queue, dead.message.task(0).to_string(), record))
    };
    ending.dead.iter().map(encode).collect()
}
