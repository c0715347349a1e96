//! What is lost when Redis, or its machine, dies.

use super::exam::Exam;
use crate::exit::Exit;

const CHECK: &str = "persistence";
const ADVICE: &str = "appendonly yes, with appendfsync everysec, or always where a lost task costs more than speed";

pub async fn check(exam: &mut Exam<'_>) -> Result<(), Exit> {
    for (field, what) in [("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "last snapshot")] {
        if exam.info(field) == "err" {
            let found = format!("the {what} could not be written");
            exam.error(CHECK, found, "see the log of Redis: its disk may be full; it may refuse writes until then");
        }
    }
    match exam.info("aof_enabled") {
        "1" => {
            let fsync = exam.config("appendfsync").await?;
            append_only(exam, fsync.as_deref());
        }
        "0" => {
            let save = exam.config("save").await?;
            snapshots(exam, save.as_deref());
        }
        _ => exam.unknown(CHECK, "whether it writes an append-only file"),
    }
    Ok(())
}

fn append_only(exam: &mut Exam<'_>, fsync: Option<&str>) {
    match fsync {
        Some("always") => exam.ok(CHECK, "append-only file, always on disk: nothing acknowledged is lost"),
        Some("everysec") => {
            exam.ok(CHECK, "append-only file, every second: if the machine dies, up to about 2 s are lost");
        }
        Some(_) => exam.warning(
            CHECK,
            "append-only file, written when the system likes: if the machine dies, half a minute may be lost",
            "appendfsync everysec",
        ),
        None => exam.ok(CHECK, "append-only file; Redis does not tell how often it reaches the disk"),
    }
}

fn snapshots(exam: &mut Exam<'_>, save: Option<&str>) {
    match save {
        Some("") => exam.warning(CHECK, "none: when Redis ends, everything is lost", ADVICE),
        Some(_) => {
            exam.warning(CHECK, "snapshots only: when Redis dies, everything since the last one is lost", ADVICE)
        }
        None => exam.warning(CHECK, "no append-only file: when Redis dies, tasks are lost", ADVICE),
    }
}
