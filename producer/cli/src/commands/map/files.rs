//! Where lines come from and where they go.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::args::Map;
use crate::exit::Exit;
use crate::input;

/// Opens the input; with `--check`, after all of it was looked through.
pub fn input(args: &Map) -> Result<Box<dyn Read + Send>, Exit> {
    let Some(path) = &args.input else { return Ok(Box::new(io::stdin())) };
    if args.check {
        let bad = input::check(Box::new(open(path)?)).map_err(|error| unreadable(path, &error))?;
        if let Err(bad) = bad {
            let message = format!("{}, line {}: {}; nothing was submitted", path.display(), bad.number, bad.message);
            return Err(Exit::usage(message));
        }
    }
    if let Some(output) = &args.output
        && same_file(path, output)
    {
        return Err(Exit::usage(format!("{} is input and output: choose another output file", path.display())));
    }
    Ok(Box::new(open(path)?))
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
