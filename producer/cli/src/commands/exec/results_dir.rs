//! A directory for each job, with what it wrote and how it ended.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gristmill::TaskId;
use gristmill::shared::exec::ExecOutput;
use gristmill::shared::intervals::Intervals;
use serde_json::Value;

use crate::exit::Exit;

const STATUS: &str = "status.json";

/// Makes sure that the directory is there.
pub fn create(dir: &Path) -> Result<(), Exit> {
    fs::create_dir_all(dir).map_err(|error| Exit::usage(format!("cannot make {}: {error}", dir.display())))
}

/// Writes what is known of a job, all of it or nothing: the directory of a job appears when it is complete.
pub fn write(dir: &Path, number: u64, output: &ExecOutput, status: &Value) -> Result<(), Exit> {
    let place = place(dir, number);
    let failed = |error: io::Error| Exit::usage(format!("cannot write {}: {error}", place.display()));
    let new = dir.join(format!(".{}.new", name(number)));
    // What an interrupted run has left.
    gone(fs::remove_dir_all(&new)).map_err(failed)?;
    fs::create_dir(&new).map_err(failed)?;
    fs::write(new.join("stdout"), &*output.stdout).map_err(failed)?;
    fs::write(new.join("stderr"), &*output.stderr).map_err(failed)?;
    fs::write(new.join(STATUS), format!("{status}\n")).map_err(failed)?;
    let old = dir.join(format!(".{}.old", name(number)));
    gone(fs::remove_dir_all(&old)).map_err(failed)?;
    gone(fs::rename(&place, &old)).map_err(failed)?;
    fs::rename(&new, &place).map_err(failed)?;
    gone(fs::remove_dir_all(&old)).map_err(failed)
}

/// Whether a job has ended well before. One of another command is an error: the rows are not what they were.
///
/// `digest` tells about what `argv` does not: variables, directory and stdin.
pub fn is_done(dir: &Path, number: u64, argv: &[String], digest: &str) -> Result<bool, String> {
    let path = place(dir, number).join(STATUS);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let Ok(status) = serde_json::from_str::<Value>(&text) else { return Ok(false) };
    if status["argv"] != Value::from(argv) {
        let path = path.display();
        return Err(format!("{path} is of another command: --resume needs the rows and the command of the first run"));
    }
    if status["digest"] != digest {
        let path = path.display();
        return Err(format!(
            "{path} is of the same command with another --env, --cwd or --stdin: --resume needs those of the first run"
        ));
    }
    Ok(status["exit_code"] == 0)
}

/// What stands in a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The rows, from 0, whose jobs have ended well.
    pub done: Intervals,
    /// The tasks that all jobs were.
    pub tasks: HashSet<TaskId>,
}

/// Reads what stands there of all jobs.
pub fn written(dir: &Path) -> io::Result<Written> {
    let mut written = Written::default();
    for entry in fs::read_dir(dir)? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        let Some(number) = number.filter(|number| *number > 0) else { continue };
        // One that cannot be read is told when its row comes.
        let Ok(text) = fs::read_to_string(place(dir, number).join(STATUS)) else { continue };
        let Ok(status) = serde_json::from_str::<Value>(&text) else { continue };
        if status["exit_code"] == 0 {
            written.done.insert(number - 1);
        }
        written.tasks.extend(status["id"].as_str().and_then(|id| id.parse::<TaskId>().ok()));
    }
    Ok(written)
}

fn place(dir: &Path, number: u64) -> PathBuf {
    dir.join(name(number))
}

/// So that a listing has the order of the rows.
fn name(number: u64) -> String {
    format!("{number:06}")
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill::shared::kernel::Bytes;
    use serde_json::json;

    #[test]
    fn a_job_is_written_whole_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["true".to_owned()];
        let output = |text: &str| ExecOutput { stdout: Bytes(text.into()), ..ExecOutput::default() };
        assert_eq!(is_done(dir.path(), 7, &argv, "d"), Ok(false));
        write(dir.path(), 7, &output("first"), &json!({ "argv": argv, "digest": "d", "exit_code": 1 })).unwrap();
        assert_eq!(is_done(dir.path(), 7, &argv, "d"), Ok(false));
        fs::create_dir(dir.path().join(".000007.new")).unwrap();
        write(dir.path(), 7, &output("second"), &json!({ "argv": argv, "digest": "d", "exit_code": 0 })).unwrap();
        assert_eq!(is_done(dir.path(), 7, &argv, "d"), Ok(true));
        assert!(is_done(dir.path(), 7, &["false".to_owned()], "d").unwrap_err().contains("another command"));
        assert!(is_done(dir.path(), 7, &argv, "other").unwrap_err().contains("another --env, --cwd or --stdin"));
        assert_eq!(fs::read_to_string(dir.path().join("000007/stdout")).unwrap(), "second");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["000007"]);
        let done = written(dir.path()).unwrap().done;
        assert!(done.contains(6) && done.len() == 1);
        fs::write(dir.path().join("000007/status.json"), "torn").unwrap();
        assert_eq!(is_done(dir.path(), 7, &argv, "d"), Ok(false));
    }
}
