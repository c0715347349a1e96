//! The test vectors of docs/protocol.md: what is written there is what this build writes and reads.

use gristmill_shared::codec;
use gristmill_shared::dead_letter::{DeadLetter, Epitaph};
use gristmill_shared::history::EarlierEnd;
use gristmill_shared::message::{BlobRef, SharedRef};
use gristmill_shared::outcome::{decode_timed_run, encode_run};
use gristmill_shared::serde_bytes::ByteBuf;
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{
    Body, Certificate, Failure, Header, Lane, Message, Outcome, OutcomeKind, QueueName, TaskOptions, TaskTime,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "about")]
    _about: String,
    messages: Vec<MessageVector>,
    unreadable_messages: Vec<Bytes>,
    runs: Vec<RunVector>,
    suspects: Vec<SuspectVector>,
    dead_letters: Vec<DeadVector>,
}

#[derive(Deserialize)]
struct Bytes {
    name: String,
    hex: String,
}

#[derive(Deserialize)]
struct MessageVector {
    #[serde(flatten)]
    bytes: Bytes,
    header: HeaderVector,
    body: BodyVector,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderVector {
    version: u8,
    flags: u8,
    lane: u8,
    attempt: u16,
    crashes: u8,
    losses: u8,
    expires_at_ms: u64,
    batch: String,
    first: u64,
    count: u32,
    blob_offset: u32,
    queue: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyVector {
    kernel: String,
    #[serde(default)]
    args: Vec<String>,
    blob: Option<BlobRef>,
    shared: Option<SharedRef>,
    #[serde(default)]
    options: TaskOptions,
    #[serde(default)]
    history: Vec<EarlierEnd>,
}

#[derive(Deserialize)]
struct RunVector {
    #[serde(flatten)]
    bytes: Bytes,
    times: Vec<TaskTime>,
    outcomes: Vec<OutcomeVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeVector {
    value: Option<String>,
    blob: Option<BlobRef>,
    kind: Option<OutcomeKind>,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
struct SuspectVector {
    #[serde(flatten)]
    bytes: Bytes,
    at_ms: u64,
    certificate: Certificate,
    message: String,
}

#[derive(Deserialize)]
struct DeadVector {
    #[serde(flatten)]
    bytes: Bytes,
    at_ms: u64,
    epitaph: Epitaph,
    message: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../docs/protocol-vectors.json")).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl MessageVector {
    fn message(&self) -> (Message, Body) {
        let header = Header {
            version: self.header.version,
            flags: self.header.flags,
            lane: Lane::from_code(self.header.lane).unwrap(),
            attempt: self.header.attempt,
            crashes: self.header.crashes,
            losses: self.header.losses,
            expires_at_ms: self.header.expires_at_ms,
            batch: self.header.batch.parse().unwrap(),
            first: self.header.first,
            count: self.header.count,
            blob_offset: self.header.blob_offset,
            queue: QueueName::new(self.header.queue.as_str()).unwrap(),
        };
        let body = Body {
            kernel: self.body.kernel.clone(),
            args: self.body.args.iter().map(|arg| ByteBuf::from(unhex(arg))).collect(),
            blob: self.body.blob.clone(),
            shared: self.body.shared.clone(),
            options: self.body.options.clone(),
            history: self.body.history.clone(),
        };
        (Message::new(header, &body).unwrap(), body)
    }
}

impl OutcomeVector {
    fn outcome(&self) -> Outcome {
        match (&self.value, &self.blob, self.kind, &self.failure) {
            (Some(value), None, None, None) => Outcome::Value(unhex(value)),
            (None, Some(blob), None, None) => Outcome::Blob(blob.clone()),
            (None, None, Some(kind), Some(failure)) => Outcome::Bad(kind, failure.clone()),
            _ => panic!("an outcome is a value, a blob, or a kind with its failure"),
        }
    }
}

impl Vectors {
    /// The bytes of another vector, named `<list>.<index>`.
    fn named(&self, name: &str) -> Vec<u8> {
        let (list, index) = name.split_once('.').unwrap();
        let index: usize = index.parse().unwrap();
        unhex(match list {
            "messages" => &self.messages[index].bytes.hex,
            "unreadable_messages" => &self.unreadable_messages[index].hex,
            _ => panic!("{name}"),
        })
    }
}

/// What suspects and dead letters look like; scripts, not this crate, write them.
fn stored(at_ms: u64, map: &[u8], message: &[u8]) -> Vec<u8> {
    let mut bytes = at_ms.to_be_bytes().to_vec();
    bytes.extend((map.len() as u32).to_be_bytes());
    bytes.extend(map);
    bytes.extend(message);
    bytes
}

#[test]
fn messages() {
    for vector in vectors().messages {
        let (message, body) = vector.message();
        assert_eq!(hex(&message.encode().unwrap()), vector.bytes.hex, "{}", vector.bytes.name);
        let read = Message::parse(&unhex(&vector.bytes.hex)).unwrap();
        assert_eq!(read, message, "{}", vector.bytes.name);
        assert_eq!(read.read_body().unwrap(), body, "{}", vector.bytes.name);
    }
}

#[test]
fn what_is_unreadable() {
    for vector in vectors().unreadable_messages {
        assert!(Message::parse(&unhex(&vector.hex)).is_err(), "{}", vector.name);
    }
}

#[test]
fn runs() {
    for vector in vectors().runs {
        let outcomes: Vec<_> = vector.outcomes.iter().map(OutcomeVector::outcome).collect();
        assert_eq!(hex(&encode_run(&outcomes, &vector.times).unwrap()), vector.bytes.hex, "{}", vector.bytes.name);
        let timed: Vec<_> = outcomes.into_iter().zip(vector.times).collect();
        assert_eq!(decode_timed_run(&unhex(&vector.bytes.hex)).unwrap(), timed, "{}", vector.bytes.name);
    }
}

#[test]
fn suspects() {
    let vectors = vectors();
    for vector in &vectors.suspects {
        let message = vectors.named(&vector.message);
        let bytes = stored(vector.at_ms, &codec::encode(&vector.certificate).unwrap(), &message);
        assert_eq!(hex(&bytes), vector.bytes.hex, "{}", vector.bytes.name);
        let suspect = Suspect::parse(&bytes).unwrap();
        assert_eq!((suspect.at_ms, &suspect.certificate), (vector.at_ms, &vector.certificate));
        assert_eq!(suspect.message.encode().unwrap(), message);
    }
}

#[test]
fn dead_letters() {
    let vectors = vectors();
    for vector in &vectors.dead_letters {
        let message = vectors.named(&vector.message);
        let bytes = stored(vector.at_ms, &codec::encode(&vector.epitaph).unwrap(), &message);
        assert_eq!(hex(&bytes), vector.bytes.hex, "{}", vector.bytes.name);
        let letter = DeadLetter::parse(&bytes).unwrap();
        assert_eq!((letter.at_ms, &letter.epitaph, &letter.message), (vector.at_ms, &vector.epitaph, &message));
    }
}
