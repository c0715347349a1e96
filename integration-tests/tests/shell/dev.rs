//! `gristmill dev`: a private Redis and a worker, until Ctrl-C.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use gristmill_integration_tests::pids::Process;
use gristmill_integration_tests::worker::assert_gone;
use gristmill_integration_tests::{Cli, Log, binaries, eventually};
use gristmill_shared::events;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::rig::{assert_for_people, assert_says, batch_of, error, quiet, rows};

/// A running `gristmill dev`.
struct Dev {
    child: Child,
    /// Itself, the minder, Redis, the worker and all its processes.
    processes: Vec<Process>,
    stdout: BufReader<ChildStdout>,
    log: Log,
    /// What it printed until it was ready.
    said: String,
    url: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binaries::find("gristmill"));
    command.arg("dev").args(args).process_group(0);
    for variable in ["GRISTMILL_REDIS", "GRISTMILL_NAMESPACE", "GRISTMILL_WORKER", "GRISTMILL_LOG"] {
        command.env_remove(variable);
    }
    command.env("GRISTMILL_LOG_FORMAT", "json");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Dev {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args).spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.ends_with("Ctrl-C ends the worker, then Redis.\n") {
            assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "{said}\n{}", log.tail());
        }
        let dev = Process::now(child.id() as i32).unwrap();
        let mut processes = dev.descendants();
        processes.push(dev);
        let url = after(&said, "export GRISTMILL_REDIS=").to_owned();
        Self { child, processes, stdout, log, said, url }
    }

    fn cli(&self) -> Cli {
        Cli::at(&self.url)
    }

    fn socket(&self) -> PathBuf {
        self.url.strip_prefix("redis+unix://").unwrap().into()
    }

    fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end; returns its code or signal. Asserts that nothing is left of it.
    fn end(mut self) -> (i32, Log) {
        let status = eventually("dev ends", || self.child.try_wait().unwrap());
        assert_gone(&self.processes);
        assert!(!self.socket().parent().unwrap().exists(), "its directory is gone");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        self.log.join();
        self.log.all(|line| line.event().is_empty()).iter().for_each(|line| assert_for_people(line.text("text")));
        (status.code().or(status.signal()).unwrap(), std::mem::replace(&mut self.log, Log::of(std::io::empty())))
    }

    fn child_named(&self, name: &str) -> Process {
        let named =
            |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        *self.processes.iter().find(|process| named(process.pid)).unwrap_or_else(|| panic!("no {name}"))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // All else ends with it; in a test that went well it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rest of the line behind this text.
fn after<'a>(text: &'a str, before: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in: {text}"));
    rest.lines().next().unwrap_or_default()
}

/// What dev itself said last.
fn last_words(log: &Log) -> String {
    let own = log.all(|line| line.text("text").starts_with("gristmill: "));
    own.last().unwrap_or_else(|| panic!("it said nothing: {}", log.tail())).text("text").to_owned()
}

#[test]
fn it_runs_tasks_until_ctrl_c() {
    let dev = Dev::start(&["--consumers", "2"]);
    assert_says(&dev.said, &["gone when this ends", "--persist DIR", "Kernels: ", "square"]);
    // What it tells people to do works, word by word.
    let submit = after(&dev.said, "  gristmill ");
    let words: Vec<&str> = submit.split(' ').collect();
    assert_eq!(quiet(dev.cli().run(&words)), "666666166.4588418\n");
    let depth = after(&dev.said, "  redis-cli -s ");
    assert_eq!(depth, format!("{} LLEN {{gm}}:ready:default", dev.socket().display()));
    let workers = rows(&dev.cli().run(&["workers", "--json"]));
    assert_eq!((workers.len(), &workers[0]["consumers"]), (1, &2.into()));
    dev.signal(Signal::SIGINT);
    let (code, log) = dev.end();
    assert_eq!(code, 130, "{}", log.tail());
    assert_eq!(log.events(events::WORKER_STOPPED).len(), 1, "{}", log.tail());
}

#[test]
fn queues_and_namespace_are_its_own() {
    let dev = Dev::start(&["-c", "1", "--queues", "urgent,bulk", "--namespace", "mine"]);
    assert_says(&dev.said, &["export GRISTMILL_NAMESPACE=mine", "LLEN {mine}:ready:urgent"]);
    assert_says(after(&dev.said, "  gristmill submit"), &["--queue urgent"]);
    let cli = dev.cli().namespace("mine");
    for queue in ["urgent", "bulk"] {
        assert_eq!(quiet(cli.run(&["submit", "square", "7", "--wait", "--queue", queue])), "49\n");
    }
    dev.signal(Signal::SIGTERM);
    assert_eq!(dev.end().0, 143);
}

#[test]
fn ctrl_c_on_the_terminal_lets_the_running_task_finish_and_what_is_kept_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let persist = ["--consumers", "1", "--persist", data.to_str().unwrap()];
    let dev = Dev::start(&persist);
    assert_says(&dev.said, &["kept in", data.to_str().unwrap(), "up to about two seconds"]);
    let task = dev.cli().run(&["submit", "sleep", "0.5"]).ok();
    let waits = dev.cli().run(&["submit", "square", "7"]).ok();
    wait_until_it_runs(&dev);
    // As a terminal does it: the whole foreground group gets it.
    signal::killpg(Pid::from_raw(dev.child.id() as i32), Signal::SIGINT).unwrap();
    let (code, log) = dev.end();
    assert_eq!(code, 130);
    assert_eq!(log.events(events::WORKER_DRAINING).len(), 1, "only dev told the worker: {}", log.tail());

    let dev = Dev::start(&persist);
    assert_eq!(quiet(dev.cli().run(&["results", batch_of(&task)])), "null\n");
    assert_eq!(quiet(dev.cli().run(&["results", batch_of(&waits), "--wait"])), "49\n");
    let second = command(&persist).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8(second.stderr).unwrap();
    assert_says(&said, &["in use by another private server"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.end().0, 130);
}

fn wait_until_it_runs(dev: &Dev) {
    eventually("the task runs", || {
        let queues = rows(&dev.cli().run(&["queues", "--json"]));
        (queues.first()?["running_tasks"].as_u64()? > 0).then_some(())
    });
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let dev = Dev::start(&["--consumers", "1"]);
    dev.log.wait_for("", |line| line.text("text").ends_with(" is ready with 1 consumer"));
    dev.cli().run(&["submit", "sleep", "600"]).ok();
    wait_until_it_runs(&dev);
    dev.signal(Signal::SIGINT);
    dev.log.wait_for("", |line| line.text("text").contains("Ctrl-C again"));
    let since = Instant::now();
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.end().0, 130);
    // After the first alone, the task would have had 5 s.
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}

#[test]
fn sigkill_leaves_nothing() {
    let dev = Dev::start(&["--consumers", "2"]);
    dev.cli().run(&["submit", "sleep", "600"]).ok();
    wait_until_it_runs(&dev);
    // Kernel's programs included: one process group per consumer.
    dev.signal(Signal::SIGKILL);
    let worker = dev.child_named("gristmill-worke");
    eventually("the worker ends", || (!worker.is_alive()).then_some(()));
    let home = dev.socket().parent().unwrap().to_owned();
    eventually("its directory is gone", || (!home.exists()).then_some(()));
    assert_eq!(dev.end().0, 9);
}

#[test]
fn a_worker_that_dies_is_told() {
    let dev = Dev::start(&["--consumers", "1"]);
    dev.child_named("gristmill-worke").signal(Signal::SIGKILL);
    let (code, log) = dev.end();
    assert_eq!(code, 1, "not a bug of dev");
    assert_says(&last_words(&log), &["gristmill: the worker /", "/gristmill-worker has been killed by SIGKILL; "]);
}

#[test]
fn a_redis_that_dies_is_told() {
    let dev = Dev::start(&["--consumers", "1"]);
    dev.child_named("redis-server").signal(Signal::SIGKILL);
    let (code, log) = dev.end();
    assert_eq!(code, 3);
    assert_says(&last_words(&log), &["the private Redis has ended"]);
}

#[test]
fn auto_is_a_consumer_per_core() {
    let dev = Dev::start(&["--consumers", "auto"]);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(rows(&dev.cli().run(&["workers", "--json"]))[0]["consumers"], cores);
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.end().0, 130);
}

/// What a dev says that does not start; one line.
fn refused(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let output = gristmill_integration_tests::Output {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        code: output.status.code().unwrap(),
    };
    error(&output, code)
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    assert_says(&refused(command(&["--worker", "/no/such"]), 2), &["--worker=/no/such is not an executable file"]);
    let no_worker = "=/bin/false has ended with exit code 1 before it was ready: run `/bin/false --help`";
    assert_says(&refused(command(&["--worker", "/bin/false"]), 2), &["--worker", no_worker]);
    assert_says(&refused(command(&["--consumers", "0"]), 2), &["use auto or a number from 1 to 1024"]);
    assert_says(&refused(command(&["--queues", "A B"]), 2), &["A B"]);
    assert_says(&refused(command(&["--redis", "redis://x"]), 2), &["dev starts a Redis of its own"]);
    for dir in ["/proc/x", "/etc/passwd", "/etc/passwd/x"] {
        let line = refused(command(&["--persist", dir]), 2);
        assert_says(&line, &[&format!("cannot use the directory {dir}: "), "os error"]);
    }
    let with = |name: &str, value: &Path| {
        let mut command = command(&[]);
        command.env(name, value);
        command
    };
    assert_says(&refused(with("GRISTMILL_WORKER", Path::new("/no/such")), 2), &["GRISTMILL_WORKER=/no/such is not"]);
    let line = refused(with("GRISTMILL_WORKER", Path::new("/bin/false")), 2);
    assert_says(&line, &["GRISTMILL_WORKER", no_worker]);
    let line = refused(with("TMPDIR", Path::new("/no/such")), 2);
    assert_eq!(line.matches("/no/such").count(), 1, "{line}");
    let empty = tempfile::tempdir().unwrap();
    let line = refused(with("PATH", empty.path()), 3);
    assert_says(&line, &["no redis-server or valkey-server on PATH", "apt-get install redis-server"]);
}

#[test]
fn the_worker_is_found_beside_dev_or_on_path() {
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("gristmill");
    std::fs::copy(binaries::find("gristmill"), &alone).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut lonely = Command::new(&alone);
    lonely.arg("dev").env_remove("GRISTMILL_WORKER").env("PATH", &path);
    let line = refused(lonely, 2);
    assert_says(&line, &["no gristmill-worker beside this program or on PATH", "--worker", "GRISTMILL_WORKER"]);
    // One that ends at once shows that it was found.
    let worker = dir.path().join("bin/gristmill-worker");
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    std::os::unix::fs::symlink("/bin/false", &worker).unwrap();
    let mut found = Command::new(&alone);
    found.arg("dev").env_remove("GRISTMILL_WORKER");
    found.env("PATH", format!("{}:{path}", worker.parent().unwrap().display()));
    let path = worker.display();
    let says = format!("the worker {path} has ended with exit code 1 before it was ready: run `{path}` by hand");
    assert_says(&refused(found, 1), &[&says]);
}
