//! A large map with `--resume` that is killed, interrupted and killed again: each item comes once, in order.
//!
//! `gristmill-benchmarks resume [N]`

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;
use rand::RngExt;
use tempfile::TempDir;

use super::{CONSUMERS, LOOK, Running, items, map_square, start};
use crate::fleet::Fleet;

const ITEMS: u64 = 1_000_000;
/// What ends the runs before the last one.
const ENDS: [Signal; 3] = [Signal::SIGKILL, Signal::SIGINT, Signal::SIGKILL];

/// Measures with so many items; whether nothing ran twice. A wrong output is an error.
pub async fn run(mut args: impl Iterator<Item = String>) -> Result<bool, Box<dyn Error>> {
    let items = items(args.next(), ITEMS)?;
    let (fleet, mut server) = start().await?;
    let files = Files::new(items)?;
    println!("gristmill map square --input in --output out --resume, {items} lines, {CONSUMERS} consumers");
    println!("{:<22} {:>10} {:>10} {:>12}", "ended by", "s", "lines", "of them new");
    let begun = Instant::now();
    let mut before = 0;
    for (part, signal) in ENDS.into_iter().enumerate() {
        let (started, place) = (Instant::now(), place(part, items));
        files.interrupt(&fleet, signal, place)?;
        before = files.tell(&format!("{signal} at {place}"), started, before)?;
    }
    let started = Instant::now();
    files.finish(&fleet)?;
    files.tell("its end", started, before)?;
    files.compare()?;
    let again = server.succeeded()?.saturating_sub(items);
    println!("all runs {:.1} s; each of {items} items once, in order", begun.elapsed().as_secs_f64());
    println!("tasks that ran again {again}; goal: none: {}", if again == 0 { "met" } else { "MISSED" });
    Ok(again == 0)
}

/// Somewhere in the quarter of the map that belongs to this run.
fn place(part: usize, items: u64) -> u64 {
    let within = rand::rng().random_range(0.2..0.9);
    (items as f64 * (part as f64 + within) / (ENDS.len() + 1) as f64) as u64
}

fn answer(item: u64) -> u64 {
    item * item
}

/// Input and output of the map.
struct Files {
    dir: TempDir,
    items: u64,
}

impl Files {
    fn new(items: u64) -> Result<Self, Box<dyn Error>> {
        let files = Self { dir: tempfile::tempdir()?, items };
        let mut input = BufWriter::new(File::create(files.path("in"))?);
        for item in 0..items {
            writeln!(input, "{item}")?;
        }
        input.flush()?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, fleet: &Fleet) -> Result<Running, Box<dyn Error>> {
        let mut map = map_square(fleet)?;
        map.current_dir(self.dir.path()).stdin(Stdio::null());
        Running::start(map.args(["--input", "in", "--output", "out", "--resume"]))
    }

    /// Runs the map until the output has so many lines, and ends it then.
    fn interrupt(&self, fleet: &Fleet, signal: Signal, place: u64) -> Result<(), Box<dyn Error>> {
        // Every line is known, so the length of the file says how many there are.
        let length: u64 = (0..place).map(|item| answer(item).to_string().len() as u64 + 1).sum();
        let mut map = self.start(fleet)?;
        while fs::metadata(self.path("out")).map_or(0, |file| file.len()) < length {
            if let Some(status) = map.ended()? {
                return Err(format!("the map ended with {status} before line {place}").into());
            }
            thread::sleep(LOOK);
        }
        map.signal(signal)?;
        let status = map.0.wait()?;
        if is_by(status, signal) {
            return Ok(());
        }
        Err(format!("the map ended with {status}, not by {signal}: use more items").into())
    }

    fn finish(&self, fleet: &Fleet) -> Result<(), Box<dyn Error>> {
        let status = self.start(fleet)?.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the last run ended with {status}").into()) }
    }

    /// How far it is, and returns that.
    fn tell(&self, ended_by: &str, started: Instant, before: usize) -> Result<usize, Box<dyn Error>> {
        let seconds = started.elapsed().as_secs_f64();
        let lines = fs::read(self.path("out"))?.iter().filter(|&&byte| byte == b'\n').count();
        println!("{ended_by:<22} {seconds:>10.1} {lines:>10} {:>12}", lines as i64 - before as i64);
        Ok(lines)
    }

    /// Whether the output is what an undisturbed map writes, line by line.
    fn compare(&self) -> Result<(), Box<dyn Error>> {
        let mut lines = BufReader::new(File::open(self.path("out"))?).lines();
        for item in 0..self.items {
            let line = lines.next().ok_or(format!("the output ends before line {}", item + 1))??;
            if line != answer(item).to_string() {
                return Err(format!("line {} is {line:?}, not {}", item + 1, answer(item)).into());
            }
        }
        match lines.next() {
            None => Ok(()),
            Some(line) => Err(format!("there is a line after the last one: {:?}", line?).into()),
        }
    }
}

/// The command line answers an interrupt itself, with its own exit status.
fn is_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal as i32) || status.code() == Some(128 + signal as i32)
}
