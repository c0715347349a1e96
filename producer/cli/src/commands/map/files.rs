//! Where lines come from and where they go.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::args::Map;
use crate::exit::Exit;
use crate::input::{self, BadRow, Format, Grid, Make, Source};

/// Opens the input.
pub fn input(args: &Map) -> Result<Source, Exit> {
    if !args.grid.is_empty() {
        return Ok(Source::Grid(Grid::new(&args.grid).map_err(Exit::usage)?));
    }
    let format = format(args);
    let Some(path) = &args.input else { return Ok(Source::Text(Box::new(io::stdin()), format)) };
    if let Some(output) = &args.output
        && same_file(path, output)
    {
        return Err(Exit::usage(format!("{} is input and output: choose another output file", path.display())));
    }
    Ok(Source::Text(Box::new(open(path)?), format))
}

/// Looks through the whole input.
pub fn check(args: &Map, make: &mut dyn Make) -> Result<(), Exit> {
    let Some(path) = &args.input else { return Ok(()) };
    let source = Source::Text(Box::new(open(path)?), format(args));
    let checked = input::check(source, make).map_err(|error| unreadable(path, &error))?;
    let message = |bad: BadRow| format!("{}, {}: {}; nothing was submitted", path.display(), bad.place, bad.message);
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

fn open(path: &Path) -> Result<File, Exit> {
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

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b && a.is_file())
}
