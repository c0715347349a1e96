use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use crate::ids::BatchId;
use crate::names::QueueName;

fn header(count: u32) -> Header {
    Header {
        version: BODY_VERSION,
        flags: 0,
        lane: Lane::Low,
        attempt: 3,
        crashes: 1,
        losses: 2,
        expires_at_ms: 1_764_000_000_123,
        batch: BatchId::new(),
        first: 40,
        count,
        blob_offset: 0,
        queue: QueueName::new("images").unwrap(),
    }
}

fn body(count: u32) -> Body {
    let args = (0..count).map(|i| ByteBuf::from(codec::encode(&i).unwrap())).collect();
    Body { kernel: "square".into(), args, blob: None, options: TaskOptions::default(), ..Body::default() }
}

#[test]
fn a_message_survives_its_encoding() {
    let message = Message::new(header(3), &body(3)).unwrap();
    let read = Message::parse(&message.encode().unwrap()).unwrap();
    assert_eq!(read, message);
    assert_eq!(read.read_body().unwrap(), body(3));
}

#[test]
fn a_slice_holds_the_tasks_that_it_names() {
    let message = Message::new(header(5), &body(5)).unwrap();
    let slice = message.slice(&body(5), 1..3).unwrap();
    assert_eq!((slice.header.first, slice.header.count), (41, 2));
    assert_eq!(slice.read_body().unwrap().args, body(5).args[1..3]);
    assert!(message.slice(&body(5), 2..2).is_err());
    assert!(message.slice(&body(5), 2..6).is_err());
}

#[test]
fn a_slice_of_a_blob_moves_only_the_offset() {
    let mut head = header(5);
    head.flags |= FLAG_BLOB;
    let body = Body { args: Vec::new(), blob: Some(BlobRef { name: "a40".into(), bytes: 9 }), ..body(0) };
    let message = Message::new(head, &body).unwrap();
    let slice = message.slice(&body, 2..5).unwrap();
    let again = slice.slice(&body, 1..2).unwrap();
    assert_eq!((again.header.first, again.header.count, again.header.blob_offset), (43, 1, 3));
    assert_eq!(again.body, message.body);
}

#[test]
fn a_body_that_contradicts_its_header_is_refused() {
    let message = Message::new(header(3), &body(2)).unwrap();
    assert!(message.read_body().is_err());
    let mut future = Message::new(header(2), &body(2)).unwrap();
    future.header.version = 9;
    assert!(future.read_body().is_err());
    let blob = BlobRef { name: "../x".into(), bytes: 1 };
    assert!(blob.check().is_err());
}

#[test]
fn limits_hold() {
    let mut zero = header(1);
    zero.count = 0;
    assert!(zero.encode().is_err());
    let mut large = body(1);
    large.args[0] = ByteBuf::from(vec![0; 200 * 1024]);
    let error = Message::new(header(1), &large).unwrap().encode().unwrap_err();
    assert!(error.to_string().starts_with("message is 2"), "{error}");
}

proptest! {
    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::parse(&bytes) {
            let _ = message.read_body();
        }
    }

    #[test]
    fn a_damaged_message_never_panics(at in 0usize..90, value in any::<u8>()) {
        let mut bytes = Message::new(header(3), &body(3)).unwrap().encode().unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(message) = Message::parse(&bytes) {
            let _ = message.read_body();
        }
        bytes.truncate(at);
        prop_assert!(Message::parse(&bytes).map(|m| m.read_body().is_err()).unwrap_or(true));
    }
}
