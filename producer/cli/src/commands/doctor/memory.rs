//! What happens when memory runs short.

use gristmill::shared::defaults::MEMORY_REFUSE_PERCENT;
use gristmill::shared::size;

use super::exam::Exam;

/// Share of the limit, in percent, from which on there is little room left.
const NEAR_PERCENT: u64 = MEMORY_REFUSE_PERCENT * 3 / 4;

pub fn check_eviction(exam: &mut Exam<'_>) {
    let policy = exam.info("maxmemory_policy").to_owned();
    let limited = exam.info_number("maxmemory").unwrap_or(0) > 0;
    match policy.as_str() {
        "noeviction" => exam.ok("eviction", "noeviction: Redis deletes nothing by itself"),
        "" => exam.unknown("eviction", "its maxmemory-policy"),
        _ if limited => {
            let found = format!("{policy}: at its memory limit Redis deletes tasks and results");
            exam.error("eviction", found, "maxmemory-policy noeviction");
        }
        _ => {
            let found = format!("{policy}: with a memory limit, Redis would delete tasks and results");
            exam.warning("eviction", found, "maxmemory-policy noeviction");
        }
    }
}

pub fn check_limit(exam: &mut Exam<'_>) {
    let used = exam.info_number("used_memory").unwrap_or(0);
    match exam.info_number("maxmemory") {
        None => exam.unknown("memory", "its memory limit"),
        Some(0) => {
            let found = format!("{} in use, no limit: Redis grows until the system kills it", size::text(used));
            exam.warning("memory", found, "set maxmemory: clients then wait or fail before Redis is full");
        }
        Some(limit) => {
            let percent = used.saturating_mul(100) / limit;
            let found = format!("{} of {} in use ({percent} %)", size::text(used), size::text(limit));
            let advice = "raise maxmemory, collect results, or let fewer tasks wait";
            if percent >= MEMORY_REFUSE_PERCENT {
                let found = format!("{found}: clients refuse to submit from {MEMORY_REFUSE_PERCENT} % on");
                exam.error("memory", found, advice);
            } else if percent >= NEAR_PERCENT {
                exam.warning("memory", found, advice);
            } else {
                exam.ok("memory", found);
            }
        }
    }
}
