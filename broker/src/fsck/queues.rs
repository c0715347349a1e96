//! The counters of queues against a recount, and what stands in their lists that is no message of theirs.

use gristmill_shared::message::Header;
use gristmill_shared::suspect::{Suspect, message_of};
use gristmill_shared::{Certificate, DeathCause, codec};
use redis::aio::ConnectionLike;

use super::Look;
use super::check::Check;
use super::finding::{Action, Finding, Flaw, Remedy};
use super::places::{COUNTERS, Places, Shape};
use super::snapshot::{Rubbish, Snapshot};
use crate::error::BrokerError;

pub(super) async fn check<C: ConnectionLike>(
    look: &mut Look<'_, C>,
    places: &Places,
    snapshot: &Snapshot,
) -> Result<(), BrokerError> {
    look.report.tasks = snapshot.placed.iter().map(|placed| u64::from(placed.count)).sum();
    for (queue, counters) in &snapshot.counters {
        let recount = snapshot.recount.get(queue).copied().unwrap_or_default();
        let key = look.broker.keys().queue(queue);
        for ((field, found), expected) in COUNTERS.into_iter().zip(counters).zip(recount) {
            if let Some(finding) = counter(&key, field, found.as_deref(), expected) {
                look.find(finding);
            }
        }
    }
    for rubbish in &snapshot.rubbish {
        let finding = unreadable(places, rubbish, look.now_ms);
        look.find(finding);
    }
    Ok(())
}

/// A counter that is not what it should be. It is repaired by what it is off, which stays right while it moves.
pub(super) fn counter(key: &str, field: &str, found: Option<&str>, expected: i64) -> Option<Finding> {
    let number = found.map_or(Ok(0), str::parse::<i64>);
    let remedy = match &number {
        Ok(found) if *found == expected => return None,
        Ok(found) => {
            let by = (expected - found).to_string();
            Remedy::commands(
                format!("adds {by}"),
                Vec::new(),
                vec![super::finding::words(["HINCRBY", key, field, &by])],
            )
        }
        Err(_) => {
            let value = found.map(|text| text.as_bytes().to_vec());
            let set = super::finding::words(["HSET", key, field, &expected.to_string()]);
            Remedy::commands(
                format!("sets it to {expected}"),
                vec![Check::Field(key.to_owned(), field.to_owned(), value)],
                vec![set],
            )
        }
    };
    let finding = Finding::new(Flaw::QueueCounter, key, expected.to_string(), found.unwrap_or("nothing"));
    Some(finding.at(field).off_by(expected - number.unwrap_or(0)).remedy(remedy))
}

fn unreadable(places: &Places, rubbish: &Rubbish, now_ms: u64) -> Finding {
    let place = &places.all[rubbish.place];
    if let (Shape::Suspects, Some(field)) = (place.shape, &rubbish.field) {
        return unreadable_suspect(&place.key, field, &rubbish.bytes, now_ms);
    }
    let found = match Header::parse(&rubbish.bytes) {
        Ok((header, _)) => format!("a message of the queue {}", header.queue),
        Err(error) => format!("{} bytes: {error}", rubbish.bytes.len()),
    };
    let remedy = match &place.queue {
        Some(queue) => {
            let action = Action::Discard {
                key: place.key.clone(),
                zset: place.shape == Shape::Zset,
                queue: queue.clone(),
                counter: COUNTERS[place.counter],
                message: rubbish.bytes.clone(),
            };
            Remedy::new("moves it to the dead letters, as unreadable", action)
        }
        None => Remedy::none("nothing: its consumer ends over it, and it becomes a dead letter"),
    };
    let finding = Finding::new(Flaw::UnreadableMessage, &place.key, "messages of this queue", found);
    finding.at(fingerprint(&rubbish.bytes)).remedy(remedy)
}

/// Agents leave alone what they cannot read. Where only the certificate is broken, the message gets a new one.
fn unreadable_suspect(key: &str, field: &[u8], bytes: &[u8], now_ms: u64) -> Finding {
    let name = String::from_utf8_lossy(field).into_owned();
    let checks = vec![Check::Field(key.to_owned(), name.clone(), Some(bytes.to_vec()))];
    let message = message_of(bytes).ok().filter(|message| Header::parse(message).is_ok());
    let unseen = Certificate::unseen(DeathCause::Loss, "unknown", "what was told of its death could not be read");
    let remedy = match (message, codec::encode(&unseen)) {
        (Some(message), Ok(certificate)) => {
            let mut suspect = now_ms.to_be_bytes().to_vec();
            suspect.extend_from_slice(&(certificate.len() as u32).to_be_bytes());
            suspect.extend_from_slice(&certificate);
            suspect.extend_from_slice(message);
            let set = vec![b"HSET".to_vec(), key.as_bytes().to_vec(), field.to_vec(), suspect];
            Remedy::commands("gives it a certificate that can be read", checks, vec![set])
        }
        _ => {
            let delete = vec![b"HDEL".to_vec(), key.as_bytes().to_vec(), field.to_vec()];
            Remedy::commands("drops it: it holds no message", checks, vec![delete])
        }
    };
    let found = Suspect::parse(bytes).err().map_or_else(|| "it can be read".to_owned(), |error| error.to_string());
    Finding::new(Flaw::UnreadableSuspect, key, "a suspect", found).at(name).remedy(remedy)
}

/// Tells two values apart, in few letters.
fn fingerprint(bytes: &[u8]) -> String {
    let begin: String = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{begin}… ({} bytes)", bytes.len())
}
