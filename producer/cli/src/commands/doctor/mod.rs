//! `gristmill doctor`: one check per file or function, each of which says what it found and what to do.

mod clock;
mod connections;
mod defaults;
mod exam;
mod fleet;
mod latency;
mod leftovers;
mod memory;
mod persistence;
mod rights;
mod scripts;
mod server;

use exam::{Exam, Level};

use crate::args::{Doctor, Global};
use crate::exit::Exit;
use crate::say;
use crate::session;
use crate::table::{Table, object};

pub async fn run(global: &Global, args: Doctor) -> Result<(), Exit> {
    if args.defaults {
        return defaults::print(args.json);
    }
    let (mut link, broker) = session::direct(global).await?;
    let mut exam = Exam::begin(&mut link, &broker).await?;
    if server::check_version(&mut exam) {
        examine(&mut exam).await?;
    }
    let lines = exam.lines;
    let mut table = Table::new(&[("CHECK", "check"), ("", "level"), ("FOUND", "found"), ("TO DO", "advice")]);
    for line in &lines {
        table.row(object([
            ("check", line.check.into()),
            ("level", line.level.as_str().into()),
            ("found", line.found.clone().into()),
            ("advice", line.advice.clone().into()),
        ]));
    }
    table.print(args.json, "")?;
    let count = |level| lines.iter().filter(|line| line.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    say!("{}", summary(errors, warnings));
    let fails = errors > 0 || (args.strict && warnings > 0);
    if fails { Err(Exit::silent(Exit::TASK)) } else { Ok(()) }
}

async fn examine(exam: &mut Exam<'_>) -> Result<(), Exit> {
    server::check_role(exam).await?;
    server::check_cluster(exam).await?;
    persistence::check(exam).await?;
    memory::check_eviction(exam);
    memory::check_limit(exam);
    clock::check(exam).await?;
    latency::check_pings(exam).await?;
    latency::check_slow_scripts(exam).await?;
    connections::check_idle(exam).await?;
    rights::check(exam).await?;
    scripts::check(exam).await?;
    fleet::check_workers(exam).await?;
    connections::check_clients(exam).await?;
    fleet::check_kernels(exam).await?;
    fleet::check_queues(exam).await?;
    leftovers::check(exam).await
}

fn summary(errors: usize, warnings: usize) -> String {
    let some = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    match (errors, warnings) {
        (0, 0) => "all is well".to_owned(),
        _ => format!("{}, {}", some(errors, "error"), some(warnings, "warning")),
    }
}
