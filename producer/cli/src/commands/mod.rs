//! One file per command.

mod cancel;
mod completions;
mod dead;
mod demo;
mod dev;
mod doctor;
mod exec;
mod fsck;
mod kernels;
mod man;
mod map;
mod queue;
mod queues;
mod results;
mod status;
mod submit;
mod workers;

use std::process::ExitCode;

use crate::args::{Cli, Command, Global};
use crate::exit::Exit;
use crate::signals::Signals;

/// Runs the command until it has ended, or a signal ends it.
pub async fn run(cli: Cli) -> Result<ExitCode, Exit> {
    let mut signals = Signals::listen()?;
    let global = &cli.global;
    // It counts failures, where all others only tell that there are some.
    if let Command::Exec(args) = cli.command {
        return Ok(exec::run(global, args, &mut signals).await?.into());
    }
    all_others(global, cli.command, &mut signals).await.map(|()| ExitCode::SUCCESS)
}

async fn all_others(global: &Global, command: Command, signals: &mut Signals) -> Result<(), Exit> {
    // Its own handling of signals: it cancels what has not started.
    if let Command::Map(args) = command {
        return map::run(global, args, signals).await;
    }
    // It ends what it has started, whatever ends it.
    if let Command::Demo(args) = command {
        return demo::run(global, args, signals).await;
    }
    // It ends only by a signal, and takes its time then.
    if let Command::Dev(args) = command {
        return dev::run(global, args, signals).await;
    }
    tokio::select! {
        ended = simple(global, command) => ended,
        code = signals.next() => Err(Exit::silent(code)),
    }
}

async fn simple(global: &Global, command: Command) -> Result<(), Exit> {
    match command {
        Command::Submit(args) => submit::run(global, args).await,
        Command::Results(args) => results::run(global, args).await,
        Command::Status(args) => status::run(global, args).await,
        Command::Cancel(args) => cancel::run(global, args).await,
        Command::Queues(args) => queues::run(global, args).await,
        Command::Queue(args) => queue::run(global, args).await,
        Command::Dead(args) => dead::run(global, args).await,
        Command::Kernels(args) => kernels::run(global, args).await,
        Command::Workers(args) => workers::run(global, args).await,
        Command::Doctor(args) => doctor::run(global, args).await,
        Command::Fsck(args) => fsck::run(global, args).await,
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Map(_) | Command::Exec(_) | Command::Demo(_) | Command::Dev(_) => {
            Err(Exit::new(Exit::BUG, "a command was not handled"))
        }
    }
}
