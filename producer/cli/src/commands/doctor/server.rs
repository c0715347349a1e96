//! What kind of server it is.

use gristmill_broker::ServerInfo;

use super::exam::Exam;
use crate::exit::Exit;

/// False: it is too old for everything else.
pub fn check_version(exam: &mut Exam<'_>) -> bool {
    let (version, valkey) = (exam.info("redis_version").to_owned(), exam.info("valkey_version").to_owned());
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    let found = if valkey.is_empty() { format!("Redis {version}") } else { format!("Valkey {valkey}") };
    let (major, minor, _) = ServerInfo::FLOOR;
    if version.is_empty() {
        let advice = "let this user call INFO";
        exam.error("version", "Redis does not tell its version", advice);
        return true;
    }
    if (part(), part(), part()) < ServerInfo::FLOOR {
        exam.error("version", found, format!("install Redis {major}.{minor} or newer, or Valkey"));
        return false;
    }
    exam.ok("version", found);
    true
}

/// Nothing can be written to a replica.
pub async fn check_role(exam: &mut Exam<'_>) -> Result<(), Exit> {
    let master = format!("{}:{}", exam.info("master_host"), exam.info("master_port"));
    match exam.info("role") {
        "master" => match exam.info_number("connected_slaves").unwrap_or(0) {
            0 => exam.ok("role", "the only server, without replicas"),
            1 => exam.ok("role", "a master with one replica"),
            replicas => exam.ok("role", format!("a master with {replicas} replicas")),
        },
        "slave" => {
            exam.error("role", format!("a replica of {master}"), "connect to the master: a replica takes no writes")
        }
        _ => exam.unknown("role", "whether it is a master"),
    }
    Ok(())
}

/// All keys of a namespace lie in one slot; another node answers with MOVED.
pub async fn check_cluster(exam: &mut Exam<'_>) -> Result<(), Exit> {
    if exam.info("cluster_enabled") != "1" {
        exam.ok("cluster", "no cluster");
        return Ok(());
    }
    let key = exam.broker.keys().queues();
    match redis::cmd("EXISTS").arg(&key).query_async::<u64>(exam.conn).await {
        Ok(_) => exam.ok("cluster", "a node of a cluster, which holds the slot of this namespace"),
        Err(error) => {
            let why = exam.refusal(error)?;
            exam.error("cluster", format!("a node of a cluster: {why}"), "connect to the node that holds the slot");
        }
    }
    Ok(())
}
