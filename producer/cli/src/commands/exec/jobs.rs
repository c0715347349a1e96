//! From rows to jobs: the command of each, and what is remembered of it until it is answered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill::shared::codec;
use gristmill::shared::exec::ExecArgs;
use gristmill::shared::intervals::Intervals;
use gristmill::shared::kernel::Bytes;
use tokio::sync::Notify;

use super::results_dir;
use super::template::{Missing, Template, Values};
use crate::args::Exec;
use crate::exit::Exit;
use crate::input::{Made, Make, Record};
use crate::json;

/// A job on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number, from 1: that of its row.
    pub number: u64,
    /// Its command.
    pub argv: Vec<String>,
    /// What its lines are marked with.
    pub tag: String,
    /// Tells it from a job with other arguments, see [`digest`].
    pub digest: String,
}

/// Jobs that are not answered yet, by the index of their task.
#[derive(Debug, Default)]
pub struct Jobs {
    state: Mutex<State>,
    /// The reader came further.
    pub passed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<u64, Job>,
    /// Those that have ended in an earlier batch, by their rows.
    ended: BTreeMap<u64, Job>,
    /// How many rows are past.
    passed: u64,
    tasks: u64,
    skipped: u64,
}

impl Jobs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the next task.
    fn push(&self, job: Job) {
        let mut state = self.state();
        let index = state.tasks;
        state.tasks += 1;
        state.waiting.insert(index, job);
    }

    /// Takes what is remembered of a task.
    pub fn take(&self, index: u64) -> Option<Job> {
        self.state().waiting.remove(&index)
    }

    /// Takes what is remembered of a row whose job has ended in an earlier batch.
    pub fn take_ended(&self, row: u64) -> Option<Job> {
        self.state().ended.remove(&row)
    }

    /// What is to be kept of this row is kept now. Whether its job has ended in an earlier batch, and is wanted.
    pub fn pass(&self, row: u64) -> bool {
        let mut state = self.state();
        state.passed = row + 1;
        let has_ended = state.ended.contains_key(&row);
        drop(state);
        if has_ended {
            self.passed.notify_one();
        }
        has_ended
    }

    /// Whether a row whose job has ended in an earlier batch is past, and if `is_ordered` before all that runs.
    pub fn is_turn_of(&self, row: u64, is_ordered: bool) -> bool {
        let state = self.state();
        let first = state.waiting.first_key_value().filter(|_| is_ordered);
        row < state.passed && first.is_none_or(|(_, job)| row < job.number)
    }

    /// Takes those that are not answered of the first `tasks` tasks.
    pub fn take_before(&self, tasks: u64) -> Vec<Job> {
        let mut state = self.state();
        let later = state.waiting.split_off(&tasks);
        std::mem::replace(&mut state.waiting, later).into_values().collect()
    }

    /// Jobs that are not answered.
    pub fn waiting(&self) -> Vec<Job> {
        self.state().waiting.values().cloned().collect()
    }

    /// Jobs that an earlier run has done.
    pub fn skipped(&self) -> u64 {
        self.state().skipped
    }
}

/// Makes jobs of rows.
pub struct Maker {
    argv: Vec<Template>,
    env: Vec<(String, Template)>,
    cwd: Option<Template>,
    stdin: Option<Bytes>,
    output_max: Option<u64>,
    /// Whether rows are wanted again: those of a grid stand nowhere else.
    keeps_rows: bool,
    /// What is done already, and where that stands.
    done: Option<Arc<Path>>,
    /// Rows whose jobs have ended in an earlier batch.
    ended: Intervals,
    rows: u64,
    jobs: Arc<Jobs>,
}

impl Maker {
    /// Reads the templates of a command line.
    pub fn new(args: &Exec, stdin: Option<Vec<u8>>, jobs: Arc<Jobs>) -> Result<Self, Exit> {
        let template = |text: &String| Template::parse(text).map_err(Exit::usage);
        let done = args.resume.then(|| args.results_dir.as_deref().map(Arc::from)).flatten();
        Ok(Self {
            argv: args.command.iter().map(template).collect::<Result<_, _>>()?,
            env: args.env.iter().map(|text| variable(text)).collect::<Result<_, _>>()?,
            cwd: args.cwd.as_ref().map(template).transpose()?,
            stdin: stdin.map(Bytes),
            output_max: args.output_max,
            keeps_rows: args.failed.is_some(),
            done,
            ended: Intervals::default(),
            rows: 0,
            jobs,
        })
    }

    /// What decides what jobs do, besides the rows.
    pub fn form(&self) -> String {
        let stdin = self.stdin.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
        format!("{:?} {:?} {:?} {}", self.argv, self.env, self.cwd, stdin.unwrap_or_default())
    }

    /// The jobs of these rows have ended in an earlier batch.
    pub fn leave_out(&mut self, ended: Intervals) {
        self.ended = ended;
    }

    /// The one job of a command line without rows.
    pub fn alone(&mut self) -> Result<Vec<u8>, String> {
        self.rows = 1;
        let values = Values { number: 1, row: None, fields: &[] };
        let args = self.args(&values).map_err(|missing| missing.tell(false, &[]))?;
        let task = self.made(args, "1".to_owned())?.args;
        self.jobs.pass(0);
        Ok(task)
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let env = self.env.iter().map(|(_, template)| template);
        self.argv.iter().chain(env).chain(&self.cwd)
    }

    fn args(&self, values: &Values<'_>) -> Result<ExecArgs, Missing> {
        let argv = self.argv.iter().map(|template| template.fill(values)).collect::<Result<_, _>>()?;
        let env = self.env.iter().map(|(name, template)| Ok((name.clone(), template.fill(values)?)));
        Ok(ExecArgs {
            argv,
            stdin: self.stdin.clone(),
            env: env.collect::<Result<_, _>>()?,
            cwd: self.cwd.as_ref().map(|template| template.fill(values)).transpose()?,
            output_max: self.output_max,
        })
    }

    /// A task, or nothing where an earlier run has done it.
    fn made(&self, args: ExecArgs, tag: String) -> Result<Made, String> {
        let packed = |args: &ExecArgs| codec::encode(args).map_err(|error| error.to_string());
        let digest = digest(&packed(&ExecArgs { output_max: None, ..args.clone() })?);
        if let Some(dir) = &self.done
            && results_dir::is_done(dir, self.rows, &args.argv, &digest)?
        {
            self.jobs.state().skipped += 1;
            return Ok(Made::default());
        }
        let (packed, row) = (packed(&args)?, self.rows - 1);
        let job = Job { number: self.rows, argv: args.argv, tag, digest };
        if self.ended.contains(row) {
            self.jobs.state().ended.insert(row, job);
            return Ok(Made::default());
        }
        self.jobs.push(job);
        Ok(Made { args: packed, ..Made::default() })
    }
}

impl Make for Maker {
    fn columns(&mut self, names: &[String]) -> Result<(), String> {
        if let Some(missing) = self.templates().find_map(|template| template.missing(names)) {
            return Err(missing.tell(true, names));
        }
        if !self.templates().any(Template::has_placeholder) {
            let some: Vec<String> = names.iter().take(3).map(|name| format!("{{{name}}}")).collect();
            return Err(format!("the command uses nothing of the rows: write {} where they belong", some.join(", ")));
        }
        Ok(())
    }

    fn row(&mut self, record: Record) -> Result<Made, String> {
        self.rows += 1;
        if !self.templates().any(Template::has_placeholder) {
            self.argv.push(Template::row());
        }
        let (row, fields) = (record.text(), record.fields());
        let values = Values { number: self.rows, row: Some(&row), fields: &fields };
        let names = || fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let args = self.args(&values).map_err(|missing| missing.tell(true, &names()))?;
        let again = self.keeps_rows.then(|| record.to_json_line()).filter(|line| !line.is_empty());
        let again = again.and_then(|line| json::to_msgpack(std::str::from_utf8(&line).ok()?).ok());
        Ok(Made { again, ..self.made(args, row)? })
    }
}

/// Of all that decides what a job does. Not the values themselves: a variable may be a secret.
fn digest(args: &[u8]) -> String {
    sha1_smol::Sha1::from(args).digest().to_string()
}

/// `NAME=VALUE`, or `NAME` with the value that it has here.
fn variable(text: &str) -> Result<(String, Template), Exit> {
    if let Some((name, value)) = text.split_once('=') {
        return Ok((name.to_owned(), Template::parse(value).map_err(Exit::usage)?));
    }
    match std::env::var(text) {
        // What stands here has no placeholders.
        Ok(value) => Template::parse(&value.replace('{', "{{").replace('}', "}}"))
            .map(|template| (text.to_owned(), template))
            .map_err(Exit::usage),
        Err(std::env::VarError::NotPresent) => {
            Err(Exit::usage(format!("--env {text}: it is not set here; write {text}=VALUE")))
        }
        Err(std::env::VarError::NotUnicode(_)) => Err(Exit::usage(format!("--env {text}: its value is not UTF-8"))),
    }
}

/// A command as a shell would take it.
pub fn quoted(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    let word = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}
