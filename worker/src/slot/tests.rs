use super::*;

fn begin(position: u64, item: u32) -> Begin {
    Begin {
        position,
        item,
        task: BatchId::new().task(9),
        kernel: 3,
        time_limit: Some(Duration::from_secs(5)),
        memory: None,
    }
}

#[test]
fn the_state_word_holds_the_largest_values() {
    let (position, item) = ((1 << POSITION_BITS) - 1, 4_095);
    assert_eq!(unpack(pack(TAG_ORDERED, position, item)), (TAG_ORDERED, position, item));
}

#[test]
fn a_finished_task_leaves_nothing() {
    let slot = Slot::default();
    assert!(slot.begin(&begin(7, 2)));
    assert_eq!(slot.snapshot().task.map(|task| (task.position, task.item)), Some((7, 2)));
    assert!(slot.finish(7, 2));
    assert!(!slot.end(7, 2, EndedFor::Order), "too late");
    assert_eq!(slot.snapshot().task, None);
}

#[test]
fn an_ended_task_stays_until_the_reset() {
    let slot = Slot::default();
    let task = begin(7, 2);
    assert!(slot.begin(&task));
    assert!(!slot.end(7, 1, EndedFor::Order), "another item");
    assert!(slot.end(7, 2, EndedFor::Order));
    assert!(!slot.finish(7, 2), "the I/O thread won");
    assert!(!slot.begin(&begin(8, 0)), "nothing starts behind it");
    let snapshot = slot.snapshot();
    let found = snapshot.task.unwrap();
    assert_eq!(snapshot.ended, Some(EndedFor::Order));
    assert_eq!((found.position, found.item, found.task, found.kernel), (7, 2, task.task, 3));
    assert!(found.deadline_ms.is_some());
    let consumer = ConsumerId::new();
    slot.reset(consumer);
    assert_eq!(slot.snapshot().task, None);
    assert_eq!(slot.consumer(), consumer);
}

#[test]
fn a_blamed_task_stands_in_the_slot_whatever_compute_does() {
    let slot = Slot::default();
    assert!(slot.begin(&begin(7, 2)));
    let blamed = begin(3, 1);
    slot.blame(&blamed, "refused");
    assert!(!slot.finish(7, 2) && !slot.begin(&begin(8, 0)));
    let snapshot = slot.snapshot();
    let task = snapshot.task.unwrap();
    assert_eq!((task.position, task.item, task.task, task.deadline_ms), (3, 1, blamed.task, None));
    assert_eq!((snapshot.ended, snapshot.progress.as_deref()), (None, Some("refused")));
}

#[test]
fn the_first_reason_to_leave_stays() {
    let slot = Slot::default();
    slot.leave(Leaving::TimeLimit);
    slot.leave(Leaving::Drain);
    assert_eq!(slot.leaving(), Leaving::TimeLimit);
    for (code, reason) in Leaving::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, code);
    }
}

#[test]
fn progress_belongs_to_one_task() {
    let slot = Slot::default();
    assert!(slot.begin(&begin(1, 0)));
    slot.note_progress(Some(0.5), "half way");
    slot.note_progress(None, "still half way");
    let snapshot = slot.snapshot();
    assert_eq!((snapshot.fraction, snapshot.progress.as_deref()), (Some(0.5), Some("still half way")));
    assert!(slot.finish(1, 0));
    assert!(slot.begin(&begin(1, 1)));
    let snapshot = slot.snapshot();
    assert_eq!((snapshot.fraction, snapshot.progress), (None, None));
}

#[test]
fn a_process_belongs_to_one_consumer() {
    let slot = Slot::default();
    slot.reset(ConsumerId::new());
    assert_eq!(slot.snapshot().pid, None);
    slot.set_pid(42);
    assert_eq!(slot.snapshot().pid, Some(42));
    slot.reset(ConsumerId::new());
    assert_eq!(slot.snapshot().pid, None, "the successor is another process");
}

#[test]
fn a_memory_limit_belongs_to_one_task() {
    let slot = Slot::default();
    slot.reset(ConsumerId::new());
    let memory = Some(MemoryLimit { bytes: 100, before: 7 });
    assert!(slot.begin(&Begin { memory, ..begin(1, 4_095) }));
    slot.note_memory(120);
    assert!(slot.end(1, 4_095, EndedFor::Memory));
    let snapshot = slot.snapshot();
    assert_eq!((snapshot.ended, snapshot.memory_held), (Some(EndedFor::Memory), 120));
    assert_eq!(snapshot.task.and_then(|task| task.memory), memory);
    slot.reset(ConsumerId::new());
    assert!(slot.begin(&begin(1, 0)));
    let snapshot = slot.snapshot();
    assert_eq!((snapshot.memory_held, snapshot.task.and_then(|task| task.memory)), (0, None));
}
