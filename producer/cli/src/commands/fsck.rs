//! `gristmill fsck`.

use gristmill_broker::fsck::{Finding, Flaw, Fsck, RepairLock, Repaired, Report};
use redis::aio::MultiplexedConnection;

use crate::args::{Fsck as Args, Global};
use crate::confirm::confirm;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::say;
use crate::session::{self, refused};
use crate::table::{Table, object};

/// One repair may bring another fault to light, or be due once more because the system moved.
const ROUNDS: usize = 8;

/// A fault, and what became of it.
struct Case {
    finding: Finding,
    repaired: Option<Repaired>,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Exit> {
    let (mut link, broker) = session::direct(global).await?;
    let conn = link.connection().await.map_err(gristmill::ClientError::from)?;
    let info = broker.server_info(conn).await.map_err(refused)?;
    if !info.is_supported() {
        return Err(Exit::new(Exit::REDIS, "this Redis is too old; `gristmill doctor` tells more"));
    }
    let mut fsck = Fsck::new(&broker);
    let progress = Progress::telling("checking");
    let report = fsck.check(conn).await.map_err(refused)?;
    drop(progress);
    let repairable = report.findings.iter().filter(|finding| finding.can_be_repaired()).count();
    if !args.repair || repairable == 0 {
        let left = report.findings.len();
        let cases: Vec<_> = report.findings.iter().map(|finding| case(finding.clone())).collect();
        print(&cases, args.json)?;
        tell(&report, repairable);
        return if left == 0 { Ok(()) } else { Err(Exit::silent(Exit::TASK)) };
    }
    let faults = if repairable == 1 { "one fault".to_owned() } else { format!("{repairable} faults") };
    if !confirm(&format!("Repair {faults} in the namespace {}?", global.namespace), args.yes).await? {
        return Err(Exit::usage("nothing was changed"));
    }
    let Some(lock) = RepairLock::take(&broker, conn).await.map_err(refused)? else {
        let key = broker.keys().fsck();
        return Err(Exit::new(
            Exit::TASK,
            format!("another repair is at work, or died within the last ten minutes: {key}"),
        ));
    };
    let mut cases = Vec::new();
    let progress = Progress::telling("repairing");
    let done = repair(&mut fsck, conn, &lock, &report, &mut cases).await;
    drop(progress);
    lock.give_back(conn).await.map_err(refused)?;
    let left = done?;
    print(&cases, args.json)?;
    let repaired = cases.iter().filter(|case| case.repaired == Some(Repaired::Done)).count();
    say!("{repaired} repaired, {} left", left.findings.len());
    left.notes.iter().for_each(|note| say!("note: {note}"));
    if left.findings.is_empty() { Ok(()) } else { Err(Exit::silent(Exit::TASK)) }
}

/// Repairs in rounds what is still wrong now that the lock is ours. Counters come last: other repairs change what they
/// count.
async fn repair(
    fsck: &mut Fsck,
    conn: &mut MultiplexedConnection,
    lock: &RepairLock,
    first: &Report,
    cases: &mut Vec<Case>,
) -> Result<Report, Exit> {
    let mut report = fsck.check_again(conn, lock, first).await.map_err(refused)?;
    for finding in first.findings.iter().filter(|finding| finding.can_be_repaired()) {
        if !report.findings.iter().any(|still| still.is_same(finding)) {
            note(cases, finding, Repaired::Gone);
        }
    }
    for _ in 0..ROUNDS {
        let is_counter = |finding: &Finding| finding.flaw == Flaw::QueueCounter;
        let only_counters = report.findings.iter().all(|finding| is_counter(finding) || !finding.can_be_repaired());
        let mut changed = false;
        for finding in &report.findings {
            if is_counter(finding) && !only_counters {
                continue;
            }
            let repaired = fsck.repair(conn, lock, finding).await.map_err(refused)?;
            changed |= matches!(repaired, Repaired::Done | Repaired::Gone);
            note(cases, finding, repaired);
            if repaired == Repaired::LockLost {
                return fsck.check(conn).await.map_err(refused);
            }
        }
        report = fsck.check(conn).await.map_err(refused)?;
        if report.findings.is_empty() || !changed {
            break;
        }
    }
    for finding in &report.findings {
        if !cases.iter().any(|case| is_of(case, finding)) {
            cases.push(case(finding.clone()));
        }
    }
    Ok(report)
}

fn case(finding: Finding) -> Case {
    Case { finding, repaired: None }
}

fn is_of(case: &Case, finding: &Finding) -> bool {
    let of = |finding: &Finding| (finding.flaw, finding.key.clone(), finding.at.clone());
    of(&case.finding) == of(finding)
}

/// One line per fault, however often it had to be repaired.
fn note(cases: &mut Vec<Case>, finding: &Finding, repaired: Repaired) {
    match cases.iter_mut().find(|case| is_of(case, finding)) {
        Some(case) => case.repaired = Some(repaired),
        None => cases.push(Case { finding: finding.clone(), repaired: Some(repaired) }),
    }
}

fn print(cases: &[Case], json: bool) -> Result<(), Exit> {
    let mut columns =
        vec![("WRONG", "flaw"), ("KEY", "key"), ("PLACE", "place"), ("EXPECTED", "expected"), ("FOUND", "found")];
    columns.push(("REPAIR", "repair"));
    if cases.iter().any(|case| case.repaired.is_some()) {
        columns.push(("DONE", "repair_note"));
    }
    let mut table = Table::new(&columns);
    for case in cases {
        let finding = &case.finding;
        table.row(object([
            ("flaw", finding.flaw.as_str().into()),
            ("key", finding.key.clone().into()),
            ("place", finding.at.clone().into()),
            ("expected", finding.expected.clone().into()),
            ("found", finding.found.clone().into()),
            ("repair", finding.advice().into()),
            ("can_be_repaired", finding.can_be_repaired().into()),
            ("repaired", case.repaired.map(|repaired| repaired == Repaired::Done).into()),
            ("repair_note", case.repaired.map(word).into()),
        ]));
    }
    if cases.is_empty() && !json { Ok(()) } else { table.print(json, "") }
}

fn word(repaired: Repaired) -> &'static str {
    match repaired {
        Repaired::Done => "yes",
        Repaired::Gone => "it was no longer wrong",
        Repaired::Busy => "no: it moves too much, or is too large",
        Repaired::Impossible => "no",
        Repaired::LockLost => "no: this repair took too long, and its lock is gone",
    }
}

fn tell(report: &Report, repairable: usize) {
    let Report { keys, queues, batches, tasks, .. } = report;
    let mut seen = format!("{keys} keys, {queues} queues, {batches} batches");
    if report.has_contents {
        seen += &format!(", {tasks} tasks that have not ended");
    }
    match report.findings.len() {
        0 => say!("{seen}: nothing is wrong"),
        wrong if repairable == 0 => say!("{seen}: {wrong} wrong, none of it can be repaired safely"),
        wrong => say!("{seen}: {wrong} wrong; `gristmill fsck --repair` repairs {repairable}"),
    }
    report.notes.iter().for_each(|note| say!("note: {note}"));
}

#[cfg(test)]
mod tests {
    use gristmill_broker::Broker;
    use gristmill_embedded::EmbeddedRedis;
    use gristmill_shared::{Namespace, QueueName};

    use super::*;

    #[tokio::test]
    async fn what_another_repair_did_before_we_had_the_lock_is_not_done_again() {
        let server = EmbeddedRedis::start().unwrap();
        let client = redis::Client::open(server.url()).unwrap();
        let mut conn = client.get_multiplexed_async_connection().await.unwrap();
        let broker = Broker::new(&Namespace::new("gm").unwrap());
        let counter = broker.keys().queue(&QueueName::new("a").unwrap());
        let _: () = redis::cmd("SADD").arg(broker.keys().queues()).arg("a").query_async(&mut conn).await.unwrap();
        let _: () = redis::cmd("HSET").arg(&counter).arg("ready_tasks").arg(5).query_async(&mut conn).await.unwrap();
        let mut fsck = Fsck::new(&broker);
        let seen = fsck.check(&mut conn).await.unwrap();
        assert_eq!(seen.findings.len(), 1);
        for expected in [Repaired::Done, Repaired::Gone] {
            let lock = RepairLock::take(&broker, &mut conn).await.unwrap().unwrap();
            let mut cases = Vec::new();
            let left = repair(&mut fsck, &mut conn, &lock, &seen, &mut cases).await.unwrap();
            lock.give_back(&mut conn).await.unwrap();
            assert_eq!(left.findings, []);
            assert_eq!(cases.iter().map(|case| case.repaired).collect::<Vec<_>>(), [Some(expected)]);
            let found: i64 = redis::cmd("HGET").arg(&counter).arg("ready_tasks").query_async(&mut conn).await.unwrap();
            assert_eq!(found, 0);
        }
    }
}
