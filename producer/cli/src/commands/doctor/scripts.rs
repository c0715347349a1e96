//! Whether the scripts can be loaded and run.

use std::time::Duration;

use gristmill::shared::ConsumerId;
use gristmill_broker::script::SOURCES;

use super::exam::Exam;
use crate::exit::Exit;

pub async fn check(exam: &mut Exam<'_>) -> Result<(), Exit> {
    for source in SOURCES {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(source.text());
        if let Err(error) = load.query_async::<String>(exam.conn).await {
            let why = exam.refusal(error)?;
            let advice = "allow SCRIPT and EVALSHA; the server must run Lua as Redis does";
            exam.error("scripts", format!("{} cannot be loaded: {why}", source.name), advice);
            return Ok(());
        }
    }
    // It changes nothing: no consumer has this id.
    let called = exam.broker.renew(exam.conn, ConsumerId::new(), Duration::from_secs(1)).await;
    match exam.result(called)? {
        Ok(_) => exam.ok("scripts", format!("all {} load, and run", SOURCES.len())),
        Err(why) => exam.error(
            "scripts",
            format!("they load, but do not run: {why}"),
            "allow EVALSHA on the keys of the namespace",
        ),
    }
    Ok(())
}
