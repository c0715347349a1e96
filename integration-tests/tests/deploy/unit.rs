//! `deploy/gristmill-worker.service` and the file of settings that it reads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gristmill_integration_tests::deployed::deploy;
use gristmill_integration_tests::pids::Process;
use gristmill_integration_tests::{DeployedRedis, Log, binaries, eventually};
use gristmill_shared::{defaults, duration, events};
use nix::sys::signal::Signal;
use nix::unistd::Uid;

/// Besides the grace time: settling, leaving, and a slow Redis.
const SLACK: Duration = Duration::from_secs(10);
/// Nobody's user and group.
const NOBODY: &str = "65534";

fn read(name: &str) -> String {
    fs::read_to_string(deploy().join(name)).expect("it is part of the project")
}

/// `NAME=value` lines, without sections and comments.
fn settings(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// The unit, whose settings stand there once each.
fn unit() -> BTreeMap<String, String> {
    let settings = settings(&read("gristmill-worker.service"));
    // After= and Wants= may come several times.
    settings.into_iter().collect()
}

fn variables() -> BTreeMap<String, String> {
    settings(&read("gristmill-worker.env")).into_iter().collect()
}

/// The worker's arguments as systemd would make them.
fn arguments() -> Vec<String> {
    let (unit, variables) = (unit(), variables());
    let words = unit["ExecStart"].split_whitespace().skip(1);
    let expanded = words.map(|word| word.strip_prefix('$').map_or(word, |name| variables[name].as_str()));
    expanded.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn the_unit_runs_the_worker_and_reads_its_settings() {
    let unit = unit();
    assert_eq!(unit["ExecStart"].split(' ').next(), Some("/usr/local/bin/gristmill-worker"));
    assert_eq!(unit["EnvironmentFile"], "/etc/gristmill/worker.env");
    for (name, value) in [
        ("KillMode", "mixed"),
        ("OOMPolicy", "continue"),
        ("Restart", "on-failure"),
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
    ] {
        assert_eq!(unit[name], value, "{name}");
    }
    assert!(!unit.contains_key("Delegate") && !unit.contains_key("User"));
}

#[test]
fn the_unit_waits_longer_than_a_drain_takes() {
    let stop = Duration::from_secs(unit()["TimeoutStopSec"].parse().unwrap());
    let arguments = arguments();
    let grace = arguments.iter().position(|word| word == "--grace").map(|at| &arguments[at + 1]);
    let grace = grace.map_or(defaults::DRAIN_GRACE, |text| duration::parse(text).unwrap());
    assert!(stop >= grace + SLACK && stop >= defaults::DRAIN_GRACE + SLACK, "{stop:?} for a grace of {grace:?}");
}

/// Those behind a comment sign, too.
#[test]
fn the_settings_are_those_that_the_worker_knows() {
    let output = Command::new(binaries::find("gristmill-worker")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let text = read("gristmill-worker.env").replace("\n# ", "\n");
    let (mut known, mut ours) = (0, 0);
    for (name, _) in
        settings(&text).iter().filter(|(name, _)| name.bytes().all(|c| c.is_ascii_uppercase() || c == b'_'))
    {
        if name == "WORKER_ARGS" {
            ours += 1;
        } else {
            let said = [format!("[env: {name}"), format!("{name} sets")];
            assert!(said.iter().any(|said| help.contains(said.as_str())), "{name} is no variable of the worker");
            known += 1;
        }
    }
    assert!(known >= 4 && ours == 1, "{known} variables and {ours} lists of arguments");
}

/// What DynamicUser and the empty sets of capabilities leave: as root, a user without any right; otherwise
/// us, who can win no right.
fn without_rights(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--no-new-privs");
    if Uid::effective().is_root() {
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--bounding-set=-all"]);
    }
    command.arg("--").arg(program);
    command
}

/// Where a user without rights may read it, too.
fn copy_for_everybody(directory: &Path) -> PathBuf {
    let copy = directory.join("gristmill-worker");
    fs::copy(binaries::find("gristmill-worker"), &copy).unwrap();
    for path in [directory, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    copy
}

#[test]
fn the_worker_starts_as_the_unit_starts_it_and_drains() {
    let redis = DeployedRedis::start();
    let directory = tempfile::tempdir().unwrap();
    let mut child = without_rights(&copy_for_everybody(directory.path()))
        .args(arguments())
        .envs(variables())
        .env("GRISTMILL_REDIS", redis.url())
        .env("GRISTMILL_LOG_FORMAT", "json")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let supervisor = Process::now(child.id() as i32).unwrap();
    let mut log = Log::of(child.stderr.take().unwrap());
    log.wait(events::CONSUMER_STARTED);
    assert_eq!(log.events(events::SETTING_DOUBTFUL).len(), 0, "{}", log.tail());
    supervisor.signal(Signal::SIGTERM);
    let status = eventually("the worker ends", || child.try_wait().unwrap());
    log.join();
    assert_eq!(status.code(), Some(0), "{}", log.tail());
    assert_eq!(log.events(events::WORKER_STOPPED).len(), 1);
    let problems = log.all(|line| matches!(line.text("level"), "WARN" | "ERROR"));
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let directory = tempfile::tempdir().unwrap();
    let worker = binaries::find("gristmill-worker");
    let text = read("gristmill-worker.service").replace("/usr/local/bin/gristmill-worker", worker.to_str().unwrap());
    let path = directory.path().join("gristmill-worker.service");
    fs::write(&path, text).unwrap();
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            // It also looks at the units of this machine that ours names.
            let ours: Vec<_> = said.lines().filter(|line| line.contains("gristmill")).collect();
            assert!(output.status.success() && ours.is_empty(), "{said}");
        }
        Err(error) => println!("skipped: systemd-analyze cannot be run here: {error}"),
    }
}
