//! Messages for the unit tests of this folder.

use gristmill_shared::kernel::{KernelOptions, RegisteredKernel};
use gristmill_shared::message::{BODY_VERSION, Body, TaskOptions};
use gristmill_shared::{BatchId, Header, Lane, Message, QueueName};
use serde_bytes::ByteBuf;

use super::handover::Job;
use super::inflight::{Fate, Held};

/// A kernel that returns its arguments.
pub fn echo() -> RegisteredKernel {
    RegisteredKernel {
        name: "echo",
        doc: "",
        options: KernelOptions::default(),
        args_schema: || serde_json::Value::Null,
        run: |_, args| Ok(args.to_vec()),
    }
}

/// A batch that is always the same.
pub fn batch() -> BatchId {
    BatchId::from_bytes([7; 16])
}

/// A body with `count` arguments.
pub fn body(count: u32) -> Body {
    let args = (0..count).map(|item| ByteBuf::from(vec![item as u8])).collect();
    Body { kernel: "echo".into(), args, blob: None, options: TaskOptions::default(), ..Body::default() }
}

/// A message of `count` tasks from `first` on.
pub fn message(first: u64, count: u32) -> Message {
    let header = Header {
        version: BODY_VERSION,
        flags: 0,
        lane: Lane::Normal,
        attempt: 1,
        crashes: 0,
        losses: 0,
        expires_at_ms: 1_000_000,
        batch: batch(),
        first,
        count,
        blob_offset: 0,
        queue: QueueName::new("default").unwrap(),
    };
    Message::new(header, &body(count)).unwrap()
}

/// The same, in flight.
pub fn held(serial: u64, first: u64, count: u32) -> Held {
    let message = message(first, count);
    let bytes = message.encode().unwrap().len();
    Held::new(serial, message, Fate::Run { kernel: echo(), place: 0, body: Box::new(body(count)) }, bytes)
}

/// The same, ready to compute.
pub fn job(serial: u64, position: u64, count: u32) -> Job {
    Job {
        serial,
        position,
        header: message(serial * 100, count).header,
        kernel: echo(),
        place: 0,
        time_limit: None,
        soft_time_limit: None,
        memory: None,
        args: body(count).args,
        shared: None,
    }
}
