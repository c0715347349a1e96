//! What is to be done with a message that was just claimed. Pure.

use gristmill_broker::{ClaimFlag, EffectiveOptions, ParkedList};
use gristmill_shared::message::BODY_VERSION;
use gristmill_shared::{KernelName, Kernels, Message, OutcomeKind, size};

use super::inflight::{End, Fate, Held};

/// The memory that a worker has; none: nobody knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// For a task.
    pub task: Option<u64>,
    /// For the shared input of a batch.
    pub shared: Option<u64>,
}

/// Reads a claimed message as far as this worker can.
pub fn prepare(serial: u64, message: Message, bytes: usize, flag: ClaimFlag, kernels: &Kernels, room: Room) -> Held {
    let (fate, fault) = fate(&message, kernels);
    let first = message.header.first;
    let too_large = too_large(&fate, room.task).or_else(|| too_much_shared(&fate, room.shared));
    let mut held = Held::new(serial, message, fate, bytes);
    // A cancelled or expired message ends without anybody looking at its kernel.
    match flag {
        ClaimFlag::Cancelled => held.end_unrun(&cancelled()),
        ClaimFlag::OverBudget(bytes) => held.end_unrun(&over_budget(bytes)),
        ClaimFlag::Expired => held.end_unrun(&expired()),
        ClaimFlag::SomeCancelled(indices) => {
            for item in indices.iter().filter_map(|index| index.checked_sub(first)) {
                held.end(u32::try_from(item).unwrap_or(u32::MAX), cancelled());
            }
        }
        ClaimFlag::None => {}
    }
    if let Some(fault) = fault {
        held.end_all(&End::Final(OutcomeKind::Failed, fault));
    }
    if let Some(text) = too_large {
        held.end_all(&End::Final(OutcomeKind::OutOfMemory, text));
    }
    held
}

/// How a task ends that somebody cancelled.
pub fn cancelled() -> End {
    End::Final(OutcomeKind::Cancelled, "cancelled".to_owned())
}

/// How a task ends whose batch must not store more results than it has.
pub fn over_budget(bytes: u64) -> End {
    let text = format!("not started: the results of its batch take more than {}", size::text(bytes));
    End::Final(OutcomeKind::Cancelled, text)
}

fn expired() -> End {
    End::Final(OutcomeKind::Expired, "expired before it was started".to_owned())
}

/// What to say of tasks that declare to need more memory than this worker has.
fn too_large(fate: &Fate, room: Option<u64>) -> Option<String> {
    let Fate::Run { kernel, body, .. } = fate else { return None };
    let (room, needs) = (room?, EffectiveOptions::of(kernel.options, &body.options).memory?);
    let say = |room, needs| {
        format!(
            "not started: it declares to need {needs} of memory, and this worker has {room} for a task; declare less, \
             or let a larger worker serve this queue"
        )
    };
    (needs > room).then(|| say(size::text(room), size::text(needs)))
}

/// What to say of tasks whose shared input is larger than this worker can hold.
fn too_much_shared(fate: &Fate, room: Option<u64>) -> Option<String> {
    let Fate::Run { body, .. } = fate else { return None };
    let (room, bytes) = (room?, body.shared.as_ref()?.bytes);
    let say = |room, bytes| {
        format!(
            "not started: its shared input takes {bytes} of memory, and this worker has {room} for it; share less, or \
             start workers with more (--shared-cache, --memory-limit)"
        )
    };
    (bytes > room).then(|| say(size::text(room), size::text(bytes)))
}

/// What to do, and what is wrong with the body, if something is.
fn fate(message: &Message, kernels: &Kernels) -> (Fate, Option<String>) {
    if message.header.version != BODY_VERSION {
        return (Fate::Park(ParkedList::Version(message.header.version)), None);
    }
    let body = match message.read_body() {
        Ok(body) => body,
        Err(error) => return (Fate::Unreadable, Some(format!("the message cannot be read: {error}"))),
    };
    if let Some((place, kernel)) = kernels.iter().enumerate().find(|(_, kernel)| kernel.name == body.kernel) {
        return (Fate::Run { kernel: *kernel, place: place as u32, body: Box::new(body) }, None);
    }
    match KernelName::new(body.kernel) {
        Ok(name) => (Fate::Park(ParkedList::Kernel(name)), None),
        Err(error) => (Fate::Unreadable, Some(format!("the message cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use gristmill_shared::codec;
    use gristmill_shared::message::{Body, SharedRef};

    use super::super::testing::{body, echo, message};
    use super::*;

    fn prepared(message: Message, flag: ClaimFlag, kernels: &Kernels) -> Held {
        prepare(1, message, 100, flag, kernels, Room { task: Some(1 << 30), shared: Some(1 << 30) })
    }

    fn known() -> Kernels {
        Kernels::new(vec![echo()])
    }

    #[test]
    fn a_known_kernel_runs_without_its_cancelled_items() {
        let held = prepared(message(10, 4), ClaimFlag::SomeCancelled(vec![3, 11, 13, 99]), &known());
        assert_eq!(held.skip(), [false, true, false, true]);
        assert!(!held.is_over());
    }

    #[test]
    fn unknown_kernels_and_versions_are_parked() {
        let held = prepared(message(0, 2), ClaimFlag::None, &Kernels::new(vec![]));
        assert!(held.is_over());
        assert!(matches!(&held.fate, Fate::Park(ParkedList::Kernel(name)) if name.as_str() == "echo"));
        let mut newer = message(0, 2);
        newer.header.version = 9;
        let held = prepared(newer.clone(), ClaimFlag::None, &known());
        assert!(matches!(held.fate, Fate::Park(ParkedList::Version(9))));
        let held = prepared(newer, ClaimFlag::Cancelled, &known());
        assert_eq!(held.ends, [Some(cancelled()), Some(cancelled())], "cancelled comes first");
        assert!(held.is_over() && matches!(held.fate, Fate::Unreadable));
    }

    #[test]
    fn what_needs_more_than_there_is_does_not_start() {
        let declaring = |memory| {
            let mut kernel = echo();
            kernel.options.memory = Some(memory);
            Kernels::new(vec![kernel])
        };
        assert!(!prepared(message(0, 2), ClaimFlag::None, &declaring(1 << 30)).is_over());
        let held = prepared(message(0, 2), ClaimFlag::SomeCancelled(vec![0]), &declaring(3 << 29));
        assert_eq!(held.ends[0], Some(cancelled()));
        let Some(End::Final(OutcomeKind::OutOfMemory, text)) = &held.ends[1] else { panic!("{:?}", held.ends) };
        assert!(text.contains("1.5GiB") && text.contains("1GiB"), "{text}");
    }

    #[test]
    fn nor_does_what_shares_more_than_there_is() {
        let sharing = |bytes| {
            let mut message = message(0, 2);
            let body = Body { shared: Some(SharedRef::new(bytes, None)), ..body(2) };
            message.body = codec::encode(&body).unwrap();
            prepared(message, ClaimFlag::None, &known())
        };
        assert!(!sharing(1 << 30).is_over());
        let held = sharing(3 << 29);
        let Some(End::Final(OutcomeKind::OutOfMemory, text)) = &held.ends[1] else { panic!("{:?}", held.ends) };
        assert!(text.contains("takes 1.5GiB") && text.contains("has 1GiB"), "{text}");
    }

    #[test]
    fn an_unreadable_body_fails_every_item() {
        let mut bad = message(0, 2);
        bad.body = vec![0xc1];
        let held = prepared(bad, ClaimFlag::None, &known());
        assert!(held.is_over());
        assert!(
            matches!(&held.ends[1], Some(End::Final(OutcomeKind::Failed, text)) if text.contains("cannot be read"))
        );
    }
}
