//! Where lines come from and where they go.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::failed::FailedFile;

use crate::args::Map;
use crate::exit::Exit;
use crate::input::{self, BadRow, Format, Grid, Make, Source};
use crate::say;

/// Refuses one file for two purposes.
fn all_different(args: &Map) -> Result<(), Exit> {
    let files = [("input", &args.input), ("output", &args.output), ("failed", &args.failed)];
    for (i, (purpose, path)) in files.iter().enumerate() {
        for (other_purpose, other) in &files[..i] {
            if let (Some(path), Some(other)) = (path, other)
                && (path == other || same_file(path, other))
            {
                let message = format!("{} is {other_purpose} and {purpose}: choose another file", path.display());
                return Err(Exit::usage(message));
            }
        }
    }
    Ok(())
}

/// What a row of the input is called.
pub fn noun(args: &Map) -> &'static str {
    match format(args) {
        _ if !args.grid.is_empty() => "point",
        Format::Jsonl | Format::Lines => "line",
        Format::Csv | Format::Tsv => "row",
    }
}

/// Whether the whole input is there, so that nobody waits for what comes.
pub fn is_there(args: &Map) -> bool {
    let is_file = |file: File| file.metadata().is_ok_and(|metadata| metadata.is_file());
    match &args.input {
        _ if !args.grid.is_empty() => true,
        Some(path) => File::open(path).is_ok_and(is_file),
        None => io::stdin().as_fd().try_clone_to_owned().is_ok_and(|stdin| is_file(stdin.into())),
    }
}

/// Opens the file for what does not succeed, and leaves in it what is there.
pub fn failed(args: &Map) -> Result<Option<FailedFile>, Exit> {
    args.failed.as_deref().map(FailedFile::open).transpose()
}

/// Whether a person types the rows.
pub fn is_typed(args: &Map) -> bool {
    args.input.is_none() && args.grid.is_empty() && io::stdin().is_terminal()
}

/// Says what it waits for.
pub fn say_that_rows_are_typed() {
    say!("gristmill: reading rows from the terminal, end with Ctrl-D");
}

/// Opens the input.
pub fn input(args: &Map) -> Result<Source, Exit> {
    all_different(args)?;
    if !args.grid.is_empty() {
        return Ok(Source::Grid(Grid::new(&args.grid).map_err(Exit::usage)?));
    }
    let format = format(args);
    let Some(path) = &args.input else {
        if is_typed(args) {
            say_that_rows_are_typed();
        }
        return Ok(Source::Text(Box::new(io::stdin()), format));
    };
    Ok(Source::Text(Box::new(open(path)?), format))
}

/// Looks through the whole input.
pub fn check(args: &Map, make: &mut dyn Make) -> Result<(), Exit> {
    let source = match &args.input {
        None if args.grid.is_empty() => return Ok(()),
        None => input(args)?,
        Some(path) => Source::Text(Box::new(open(path)?), format(args)),
    };
    let name = args.input.as_deref().map(|path| format!("{}, ", path.display())).unwrap_or_default();
    let checked = input::check(source, make).map_err(|error| match &args.input {
        Some(path) => unreadable(path, &error),
        None => error.into(),
    })?;
    let message = |bad: BadRow| format!("{name}{}: {}; nothing was submitted", bad.place, bad.message);
    checked.map(drop).map_err(|bad| Exit::usage(message(bad)))
}

/// How the input is divided into rows.
pub fn format(args: &Map) -> Format {
    let by_name = || args.input.as_deref().and_then(Format::of);
    args.input_format.or_else(by_name).unwrap_or(Format::Jsonl)
}

/// The input once more, to count its lines; none if it is no file, and what is read of it is gone.
pub fn countable(args: &Map) -> Option<File> {
    let file = File::open(args.input.as_ref()?).ok()?;
    file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
}

/// Opens the output.
pub fn output(args: &Map) -> Result<Box<dyn Write>, Exit> {
    let Some(path) = &args.output else { return Ok(Box::new(io::stdout())) };
    match File::create(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Exit::usage(format!("cannot write {}: {error}", path.display()))),
    }
}

pub fn open(path: &Path) -> Result<File, Exit> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    // A directory opens well, and fails only when it is read.
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Exit::usage(format!("cannot read {}: it is a directory", path.display())));
    }
    Ok(file)
}

fn unreadable(path: &Path, error: &io::Error) -> Exit {
    Exit::usage(format!("cannot read {}: {error}", path.display()))
}

pub fn same_file(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b && a.is_file())
}
