//! What nobody takes care of: a light look, without walking through everything as fsck does.

use gristmill_broker::fsck::Fsck;
use redis::Value;

use super::exam::Exam;
use crate::exit::Exit;

const CHECK: &str = "leftovers";
/// What is overdue for so long is left over: no agent was there.
const OVERDUE_MS: u64 = 60_000;
/// Keys that are looked at.
const KEYS: usize = 2_000;
const FSCK: &str = "`gristmill fsck` names them; delete what nobody needs";

pub async fn check(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let before = exam.lines.len();
    let now = exam.broker.redis_time_ms(exam.conn).await;
    let Ok(now_ms) = exam.result(now)? else {
        exam.unknown(CHECK, "its time");
        return Ok(());
    };
    let overdue = now_ms.saturating_sub(OVERDUE_MS);
    let keys = exam.broker.keys();
    for (key, what) in
        [(keys.leases(), "leases of consumers that are gone"), (keys.batches(), "batches that wait to be looked at")]
    {
        let mut count = redis::cmd("ZCOUNT");
        let count: Option<u64> = exam.ask(count.arg(key).arg("-inf").arg(overdue)).await?;
        if let Some(count) = count.filter(|count| *count > 0) {
            let found = format!("{count} {what}, overdue for more than a minute");
            exam.warning(CHECK, found, "a running worker takes care of them; else gristmill fsck");
        }
    }
    let old = old_suspects(exam, overdue).await?;
    if old > 0 {
        let found = format!("{old} suspects that nobody has judged for a minute");
        exam.warning(CHECK, found, "a running worker judges them, at the latest after a minute");
    }
    let odd = Fsck::glance(exam.broker, exam.conn, KEYS).await;
    match exam.result(odd)? {
        Ok((_, odd)) if odd > 0 => {
            exam.warning(CHECK, format!("{odd} keys that are not Gristmill's, or of another type"), FSCK);
        }
        Ok((seen, _)) if exam.lines.len() == before => exam.ok(CHECK, format!("none among {seen} keys")),
        Ok(_) => {}
        Err(why) => exam.warning(CHECK, format!("the keys could not be looked at: {why}"), "see the line about rights"),
    }
    Ok(())
}

/// Among the first page of them.
async fn old_suspects(exam: &mut Exam<'_>, overdue: u64) -> Result<usize, Exit> {
    let mut scan = redis::cmd("HSCAN");
    let page: Option<(Value, Vec<Vec<u8>>)> =
        exam.ask(scan.arg(exam.broker.keys().suspects()).arg(0).arg("COUNT").arg(32)).await?;
    let at = |suspect: &[u8]| suspect.first_chunk::<8>().map(|at| u64::from_be_bytes(*at));
    let suspects = page.map(|(_, pairs)| pairs).unwrap_or_default();
    Ok(suspects.chunks_exact(2).filter(|pair| at(&pair[1]).is_none_or(|at| at < overdue)).count())
}
