//! Decides about suspects: messages whose consumer died under them.

use gristmill_broker::{EffectiveOptions, Ending, verdict, verdict_unread};
use gristmill_shared::suspect::Suspect;
use gristmill_shared::{DeathCause, Kernels};

use super::Agent;
use crate::jitter::jitter;

/// After this time a suspect that no agent could read goes back whole.
const UNREAD_AFTER_MS: u64 = 60_000;

/// Judges a suspect that a reclaim has just made.
pub async fn found(agent: &Agent, field: &str) {
    match agent.wire.call(async |conn| agent.broker.suspect(conn, field).await).await {
        Ok(Some(stored)) => judge(agent, field, &stored, None).await,
        Ok(None) => {}
        // The next tick finds it.
        Err(error) => tracing::error!(field, "a look at a suspect was refused: {error}"),
    }
}

/// Judges a suspect; `now_ms` is Redis's clock, and by default the moment when it became one.
pub async fn judge(agent: &Agent, field: &str, stored: &[u8], now_ms: Option<u64>) {
    let suspect = match Suspect::parse(stored) {
        Ok(suspect) => suspect,
        Err(error) => return tracing::error!(field, "a suspect cannot be read: {error}"),
    };
    let now_ms = now_ms.unwrap_or(suspect.at_ms);
    let Some(ending) = ending(&suspect, &agent.kernels, now_ms, jitter()) else { return };
    let judged = agent
        .wire
        .call(async |conn| {
            agent.broker.keep_arguments(conn, &ending.dead).await?;
            agent.broker.judge(conn, field, &suspect, &ending).await
        })
        .await;
    match judged {
        Ok(_) => {}
        // The next tick finds it again.
        Err(error) => tracing::error!(field, "a verdict was refused: {error}"),
    }
}

/// The verdict; none: to be left to an agent that knows more.
fn ending(suspect: &Suspect, kernels: &Kernels, now_ms: u64, jitter: f64) -> Option<Ending> {
    if let Ok(body) = suspect.message.read_body() {
        let kernel = kernels.get(&body.kernel);
        // Only the end by a limit depends on what the kernel declares.
        let limit = matches!(suspect.certificate.cause, DeathCause::TimeLimit | DeathCause::MemoryLimit);
        if kernel.is_some() || !limit {
            let declared = kernel.map(|kernel| kernel.options).unwrap_or_default();
            let options = EffectiveOptions::of(declared, &body.options);
            if let Ok(ending) = verdict(suspect, &body, &options, jitter, now_ms) {
                return Some(ending);
            }
        }
    }
    (now_ms.saturating_sub(suspect.at_ms) >= UNREAD_AFTER_MS).then(|| verdict_unread(suspect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_shared::message::{BODY_VERSION, Body, TaskOptions};
    use gristmill_shared::{BatchId, Certificate, Header, Lane, Message, QueueName};

    fn suspect(cause: DeathCause) -> Suspect {
        let header = Header {
            version: BODY_VERSION,
            flags: 0,
            lane: Lane::Normal,
            attempt: 1,
            crashes: 0,
            losses: 0,
            expires_at_ms: 1_000_000,
            batch: BatchId::new(),
            first: 0,
            count: 1,
            blob_offset: 0,
            queue: QueueName::new("default").unwrap(),
        };
        let body = Body {
            kernel: "unknown".into(),
            args: vec![vec![1].into()],
            blob: None,
            options: TaskOptions::default(),
            ..Body::default()
        };
        let mut certificate = Certificate::unseen(cause, "c", "died");
        certificate.item = Some(0);
        Suspect { at_ms: 1_000, certificate, message: Message::new(header, &body).unwrap() }
    }

    #[test]
    fn a_crash_is_judged_by_anybody() {
        assert!(ending(&suspect(DeathCause::Crash), &Kernels::default(), 1_000, 0.5).is_some());
    }

    #[test]
    fn what_needs_the_kernel_is_left_for_a_minute() {
        let limit = suspect(DeathCause::TimeLimit);
        assert!(ending(&limit, &Kernels::default(), 2_000, 0.5).is_none());
        assert!(ending(&limit, &Kernels::default(), 1_000 + UNREAD_AFTER_MS, 0.5).is_some());
        let mut unreadable = suspect(DeathCause::Crash);
        unreadable.message.body = vec![0xc1];
        assert!(ending(&unreadable, &Kernels::default(), 2_000, 0.5).is_none());
        assert!(ending(&unreadable, &Kernels::default(), 1_000 + UNREAD_AFTER_MS, 0.5).is_some());
    }
}
