//! Hands messages to the compute thread, in order of position; arguments in a blob are fetched before.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gristmill_broker::EffectiveOptions;
use gristmill_shared::codec;
use gristmill_shared::kernel::KernelOptions;
use gristmill_shared::message::{BlobRef, SharedRef, TaskOptions};
use gristmill_shared::shared_input::SharedInput;
use gristmill_shared::{BatchId, Header, OutcomeKind};
use serde_bytes::ByteBuf;

use super::fetch_shared;
use super::handover::Job;
use super::inflight::{End, Fate, Held, InFlight};
use super::io::{Io, Mode};

/// Fetched arguments that may wait in memory.
const FETCHED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Hands over what is ready. Stops at a message whose arguments are not here yet: what is behind it
/// waits, so that positions begin in order. Stops also at one that has crashed a process before, until all that
/// ran before it is settled: what it costs this time, its neighbours have not to do again.
pub fn hand_over(io: &Io) {
    let mut inflight = io.inflight.borrow_mut();
    let fetched: u64 = inflight.iter().filter(|held| held.handed_over).filter_map(blob).map(|blob| blob.bytes).sum();
    let busy = io.fetching.get().is_some();
    let head = inflight.base();
    while let Some((position, held)) = inflight.next_to_hand_over() {
        if held.message.header.crashes > 0 && position > head {
            return;
        }
        let (batch, serial) = (held.message.header.batch, held.serial);
        let Fate::Run { body, .. } = &held.fate else { return };
        let shared = body.shared.as_ref().map(|shared| (shared.bytes, io.shared.borrow_mut().get(batch)));
        let lacks = match &shared {
            Some((bytes, None)) => Some(*bytes),
            _ => None,
        };
        if body.blob.is_some() || lacks.is_some() {
            let room = fetched == 0 || fetched < FETCHED_BYTES_MAX;
            if !busy && room && lacks.is_none_or(|bytes| make_room(io, &inflight, bytes)) {
                io.fetching.set(Some(serial));
                io.fetch_set.notify_one();
            }
            return;
        }
        let args = body.args.clone();
        push(io, position, held, args, shared.and_then(|(_, input)| input));
    }
}

fn blob(held: &Held) -> Option<&BlobRef> {
    match &held.fate {
        Fate::Run { body, .. } => body.blob.as_ref(),
        _ => None,
    }
}

/// Makes room for shared input of so many bytes, beside that of the tasks that run or are about to.
fn make_room(io: &Io, inflight: &InFlight, bytes: u64) -> bool {
    io.shared.borrow_mut().make_room(bytes, |batch| is_needed(inflight, batch))
}

/// Whether tasks of this batch run or are about to.
pub fn is_needed(inflight: &InFlight, batch: BatchId) -> bool {
    inflight.iter().any(|held| held.handed_over && !held.is_over() && held.message.header.batch == batch)
}

fn push(io: &Io, position: u64, held: &mut Held, args: Vec<ByteBuf>, shared: Option<Arc<SharedInput>>) {
    let Fate::Run { kernel, place, body } = &held.fate else { return };
    let options = EffectiveOptions::of(kernel.options, &body.options);
    let job = Job {
        serial: held.serial,
        position,
        header: held.message.header.clone(),
        kernel: *kernel,
        place: *place,
        time_limit: options.time_limit,
        soft_time_limit: options.soft_time_limit,
        memory: options.memory,
        args,
        shared,
    };
    let skip = held.skip();
    held.handed_over = true;
    io.handover.push(job, skip);
    io.busy.notify_one();
}

/// How long one item may run.
pub fn time_limit(kernel: KernelOptions, task: &TaskOptions) -> Option<Duration> {
    EffectiveOptions::of(kernel, task).time_limit
}

/// What a message lacks that stands in Redis, and what it has.
struct Wanted {
    header: Header,
    blob: Option<BlobRef>,
    shared: Option<SharedRef>,
    args: Vec<ByteBuf>,
}

/// All that its tasks run with.
struct Ready {
    args: Vec<ByteBuf>,
    shared: Option<Arc<SharedInput>>,
}

/// The task that fetches: for one message at a time, in order.
pub async fn fetch(io: Rc<Io>) {
    loop {
        io.fetch_set.notified().await;
        while let Some(serial) = io.fetching.get() {
            let wanted = wanted(&mut io.inflight.borrow_mut(), serial);
            let ready = match wanted {
                Some(wanted) => Some(get(&io, serial, wanted).await),
                None => None,
            };
            io.fetching.set(None);
            if let Some(ready) = ready {
                fetched(&io, serial, ready);
            }
            hand_over(&io);
        }
        io.nudge.notify_one();
    }
}

fn wanted(inflight: &mut InFlight, serial: u64) -> Option<Wanted> {
    let held = inflight.by_serial(serial)?;
    let Fate::Run { body, .. } = &held.fate else { return None };
    let (blob, shared, args) = (body.blob.clone(), body.shared.clone(), body.args.clone());
    Some(Wanted { header: held.message.header.clone(), blob, shared, args })
}

async fn get(io: &Io, serial: u64, wanted: Wanted) -> Result<Ready, String> {
    let Wanted { header, blob, shared, args } = wanted;
    let shared = match shared {
        // One that was given back meanwhile may come again, or others of its batch.
        Some(shared) => Some(fetch_shared::get(io, header.batch, &shared, || is_wanted(io, serial)).await?),
        None => None,
    };
    let args = match blob {
        Some(blob) => arguments(io, &header, &blob).await?,
        None => args,
    };
    Ok(Ready { args, shared })
}

fn is_wanted(io: &Io, serial: u64) -> bool {
    let working = io.mode.get() == Mode::Working;
    io.inflight.borrow_mut().by_serial(serial).map_or(working, |held| !held.is_over())
}

async fn arguments(io: &Io, header: &Header, blob: &BlobRef) -> Result<Vec<ByteBuf>, String> {
    let bytes = io.wire.call_with_much(async |conn| io.broker.get_blob(conn, header.batch, blob).await).await;
    match bytes {
        Ok(Some(bytes)) => cut_arguments(&bytes, header),
        Ok(None) => Err(format!("the arguments are gone: blob {} of the batch has expired", blob.name)),
        Err(error) => Err(format!("the arguments in blob {} cannot be read: {error}", blob.name)),
    }
}

/// The arguments of one message, out of the array that the blob holds.
fn cut_arguments(bytes: &[u8], header: &Header) -> Result<Vec<ByteBuf>, String> {
    let all: Vec<ByteBuf> = codec::decode(bytes).map_err(|error| format!("the arguments cannot be read: {error}"))?;
    let from = header.blob_offset as usize;
    let args = all.get(from..from + header.count as usize);
    args.map(<[ByteBuf]>::to_vec).ok_or_else(|| "the blob holds fewer arguments than the message has tasks".to_owned())
}

fn fetched(io: &Io, serial: u64, ready: Result<Ready, String>) {
    let mut inflight = io.inflight.borrow_mut();
    let base = inflight.base();
    let Some(index) = inflight.iter().position(|held| held.serial == serial) else { return };
    let Some(held) = inflight.by_serial(serial) else { return };
    match ready {
        // Cancelled, or shortened by a release in the meantime.
        Ok(Ready { mut args, shared }) if !held.is_over() => {
            args.truncate(held.ends.len());
            push(io, base + index as u64, held, args, shared);
        }
        Ok(_) => {}
        Err(why) => held.end_all(&End::Final(OutcomeKind::Failed, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::message;
    use super::*;

    #[test]
    fn a_message_takes_its_part_of_the_blob() {
        let all: Vec<ByteBuf> = (0..10u8).map(|i| ByteBuf::from(vec![i])).collect();
        let bytes = codec::encode(&all).unwrap();
        let mut header = message(0, 3).header;
        header.blob_offset = 4;
        let args = cut_arguments(&bytes, &header).unwrap();
        assert_eq!(args, [vec![4], vec![5], vec![6]]);
        header.blob_offset = 8;
        assert!(cut_arguments(&bytes, &header).is_err());
        assert!(cut_arguments(&[0xc1], &header).is_err());
    }
}
