//! Which level an option comes from.

use super::SubmitOptions;

impl SubmitOptions {
    /// These options, and those of `base` where these say nothing. Labels of both; of two with one name, these.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        // Taken apart completely, so that no new field can be forgotten.
        let Self {
            queue,
            lane,
            retries,
            backoff,
            backoff_max,
            soft_time_limit,
            time_limit,
            memory,
            result_ttl,
            result_bytes,
            expires_after,
            delay,
            at,
            when_full,
            room_timeout,
            chunk,
            acknowledge,
            on_drop,
            key,
            key_window,
            labels,
            ignore_result,
            shared,
        } = self;
        let mut all_labels = base.labels.clone();
        all_labels.extend(labels);
        Self {
            queue: queue.or_else(|| base.queue.clone()),
            lane: lane.or(base.lane),
            retries: retries.or(base.retries),
            backoff: backoff.or(base.backoff),
            backoff_max: backoff_max.or(base.backoff_max),
            soft_time_limit: soft_time_limit.or(base.soft_time_limit),
            time_limit: time_limit.or(base.time_limit),
            memory: memory.or(base.memory),
            result_ttl: result_ttl.or(base.result_ttl),
            result_bytes: result_bytes.or(base.result_bytes),
            expires_after: expires_after.or(base.expires_after),
            delay: delay.or(base.delay),
            at: at.or(base.at),
            when_full: when_full.or(base.when_full),
            room_timeout: room_timeout.or(base.room_timeout),
            chunk: chunk.or(base.chunk),
            acknowledge: acknowledge.or(base.acknowledge),
            on_drop: on_drop.or(base.on_drop),
            key: key.or_else(|| base.key.clone()),
            key_window: key_window.or(base.key_window),
            labels: all_labels,
            ignore_result: ignore_result.or(base.ignore_result),
            shared: shared.or_else(|| base.shared.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SharedData;
    use crate::options::{OnDrop, WhenFull};
    use gristmill_shared::{Lane, QueueName};
    use std::time::{Duration, UNIX_EPOCH};

    /// Every field set, to values that differ between `a` and `b`; a new field does not compile until it is here.
    fn every(n: u16) -> SubmitOptions {
        let seconds = |more: u16| Some(Duration::from_secs(u64::from(n) * 100 + u64::from(more)));
        let bytes = Some(u64::from(n));
        SubmitOptions {
            queue: Some(QueueName::new(format!("q{n}")).unwrap()),
            lane: Some(if n == 1 { Lane::High } else { Lane::Low }),
            retries: Some(n),
            backoff: seconds(1),
            backoff_max: seconds(2),
            soft_time_limit: seconds(3),
            time_limit: seconds(4),
            memory: bytes,
            result_ttl: seconds(5),
            result_bytes: bytes,
            expires_after: seconds(6),
            delay: seconds(7),
            at: seconds(8).map(|after| UNIX_EPOCH + after),
            when_full: Some(if n == 1 { WhenFull::Fail } else { WhenFull::Wait }),
            room_timeout: seconds(9),
            chunk: Some(u32::from(n)),
            acknowledge: Some(n == 1),
            on_drop: Some(if n == 1 { OnDrop::Leave } else { OnDrop::Detach }),
            key: Some(format!("k{n}")),
            key_window: seconds(10),
            labels: [("all".to_owned(), n.to_string())].into(),
            ignore_result: Some(n == 1),
            shared: Some(SharedData::of(&n)),
        }
    }

    #[test]
    fn each_field_comes_from_the_first_level_that_sets_it() {
        let (above, below, none) = (every(1), every(2), SubmitOptions::default());
        assert_eq!(above.clone().over(&below), above);
        assert_eq!(none.clone().over(&below), below);
        assert_eq!(above.clone().over(&none), above);
        // Field by field: what the upper level does not say, and that alone, comes from the lower one.
        let mixed = SubmitOptions { lane: None, ignore_result: None, time_limit: None, ..above.clone() }.over(&below);
        let expected = SubmitOptions {
            lane: below.lane,
            ignore_result: below.ignore_result,
            time_limit: below.time_limit,
            ..above
        };
        assert_eq!(mixed, expected);
    }

    #[test]
    fn labels_of_all_levels_are_gathered() {
        let (call, client) = (SubmitOptions::new().label("a", "1").label("b", "1"), SubmitOptions::new());
        let labels = call.over(&client.label("b", "2").label("c", "2")).labels;
        let expected = [("a", "1"), ("b", "1"), ("c", "2")];
        assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
