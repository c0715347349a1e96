//! Hands messages to the compute thread, in order of position; arguments in a blob are fetched before.

use std::time::Duration;

use gristmill_broker::EffectiveOptions;
use gristmill_shared::codec;
use gristmill_shared::kernel::KernelOptions;
use gristmill_shared::message::{BlobRef, TaskOptions};
use gristmill_shared::{Header, OutcomeKind};
use serde_bytes::ByteBuf;

use super::handover::Job;
use super::inflight::{End, Fate, Held};
use super::io::Io;

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
        let Fate::Run { body, .. } = &held.fate else { return };
        if body.blob.is_some() {
            if !busy && (fetched == 0 || fetched < FETCHED_BYTES_MAX) {
                io.fetching.set(Some(held.serial));
                io.fetch_set.notify_one();
            }
            return;
        }
        let args = body.args.clone();
        push(io, position, held, args);
    }
}

fn blob(held: &Held) -> Option<&BlobRef> {
    match &held.fate {
        Fate::Run { body, .. } => body.blob.as_ref(),
        _ => None,
    }
}

fn push(io: &Io, position: u64, held: &mut Held, args: Vec<ByteBuf>) {
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

/// The task that fetches: one message at a time, in order.
pub async fn fetch(io: std::rc::Rc<Io>) {
    loop {
        io.fetch_set.notified().await;
        while let Some(serial) = io.fetching.get() {
            let wanted = {
                let mut inflight = io.inflight.borrow_mut();
                inflight.by_serial(serial).and_then(|held| Some((held.message.header.clone(), blob(held)?.clone())))
            };
            let args = match wanted {
                Some((header, blob)) => Some(arguments(&io, &header, &blob).await),
                None => None,
            };
            io.fetching.set(None);
            if let Some(args) = args {
                fetched(&io, serial, args);
            }
            hand_over(&io);
        }
        io.nudge.notify_one();
    }
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

fn fetched(io: &Io, serial: u64, args: Result<Vec<ByteBuf>, String>) {
    let mut inflight = io.inflight.borrow_mut();
    let base = inflight.base();
    let Some(index) = inflight.iter().position(|held| held.serial == serial) else { return };
    let Some(held) = inflight.by_serial(serial) else { return };
    match args {
        // Cancelled, or shortened by a release in the meantime.
        Ok(mut args) if !held.is_over() => {
            args.truncate(held.ends.len());
            push(io, base + index as u64, held, args);
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
