//! How a task ended, for people and programs: its failure, the death certificate, the ends before.

use std::time::Duration;

use gristmill::shared::history::EarlierEnd;
use gristmill::{Certificate, DeathCause};
use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use crate::table::object;
use crate::times::{rfc3339, short};

/// All that a certificate holds. For people the cause is a sentence.
pub fn certificate(certificate: &Certificate, for_people: bool) -> Map<String, Value> {
    let cause = if for_people { sentence(certificate.cause) } else { certificate.cause.as_str() };
    object([
        ("cause", cause.into()),
        ("summary", certificate.summary.as_str().into()),
        ("signal", certificate.signal.into()),
        ("signal_name", certificate.signal.and_then(signal_name).into()),
        ("exit_code", certificate.exit_code.into()),
        ("core_dumped", certificate.core_dumped.into()),
        ("out_of_memory", certificate.out_of_memory.into()),
        ("peak_rss_bytes", certificate.peak_rss_bytes.into()),
        ("run_ms", certificate.run_ms.into()),
        ("fraction", certificate.fraction.into()),
        ("progress", certificate.progress.clone().into()),
        ("item", certificate.item.into()),
        ("consumer", certificate.consumer.as_str().into()),
        ("host", certificate.host.clone().into()),
    ])
}

/// The ends of a task before the last, oldest first. For people: a line each.
pub fn history(ends: &[EarlierEnd], for_people: bool) -> Value {
    let end = |end: &EarlierEnd| {
        if for_people {
            return line(end).into();
        }
        Value::Object(object([
            ("buried_at", rfc3339(end.at_ms).into()),
            ("reason", end.reason.as_str().into()),
            ("message", end.message.as_str().into()),
            ("attempt", end.attempt.into()),
            ("error_kind", end.kind.clone().into()),
            ("certificate", end.certificate.as_ref().map(|found| certificate(found, false)).into()),
        ]))
    };
    ends.iter().map(end).collect()
}

fn line(end: &EarlierEnd) -> String {
    let mut line = format!("{} {} in attempt {}", rfc3339(end.at_ms), end.reason, end.attempt);
    if let Some(found) = &end.certificate {
        let run = found.run_ms.map(|ms| format!(" after {}", short(Duration::from_millis(ms))));
        let host = found.host.as_ref().map(|host| format!(" on {host}"));
        line += &[run, host].into_iter().flatten().collect::<String>();
    }
    if end.message.is_empty() { line } else { format!("{line}: {}", end.message) }
}

fn sentence(cause: DeathCause) -> &'static str {
    match cause {
        DeathCause::Crash => "crash: its process died by itself",
        DeathCause::Loss => "loss: its process or machine was taken away",
        DeathCause::TimeLimit => "time limit: it ran longer than it may",
        DeathCause::MemoryLimit => "memory limit: it held more memory than it may",
        DeathCause::Ordered => "ordered: the worker ended it, and nobody is charged",
    }
}

fn signal_name(number: i32) -> Option<&'static str> {
    Signal::try_from(number).ok().map(Signal::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        const ALL: [DeathCause; 5] =
            [DeathCause::Crash, DeathCause::Loss, DeathCause::TimeLimit, DeathCause::MemoryLimit, DeathCause::Ordered];
        let sentences: std::collections::BTreeSet<_> = ALL.map(sentence).into_iter().collect();
        assert_eq!(sentences.len(), ALL.len());
        for cause in ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str(), "programs read the word of the protocol");
        }
    }

    #[test]
    fn an_earlier_end_is_one_line() {
        let mut found = Certificate::unseen(DeathCause::Crash, "c", "killed by SIGSEGV");
        (found.run_ms, found.host) = (Some(1_500), Some("mill".into()));
        let (reason, message) = ("crashed".to_owned(), "killed by SIGSEGV".to_owned());
        let mut end = EarlierEnd { at_ms: 0, reason, message, attempt: 2, kind: None, certificate: Some(found) };
        let text = "1970-01-01T00:00:00.000Z crashed in attempt 2 after 1.5s on mill: killed by SIGSEGV";
        assert_eq!(history(std::slice::from_ref(&end), true)[0], text);
        (end.certificate, end.message) = (None, String::new());
        assert_eq!(history(&[end], true)[0], "1970-01-01T00:00:00.000Z crashed in attempt 2");
    }

    #[test]
    fn a_signal_has_its_name() {
        let mut found = Certificate::unseen(DeathCause::Crash, "c", "killed by SIGSEGV");
        found.signal = Some(11);
        let fields = certificate(&found, false);
        assert_eq!((&fields["signal"], &fields["signal_name"]), (&11.into(), &"SIGSEGV".into()));
        assert_eq!(signal_name(999), None);
    }
}
