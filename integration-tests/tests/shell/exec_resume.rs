//! Programs whose client was killed go on: none that has ended runs again, and all that they wrote is written down.

use std::fs;
use std::path::Path;

use gristmill_integration_tests::{Running, WorkerOptions, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::{Rig, assert_says, error};

const JOBS: u64 = 60;
/// Notes that it runs. The first is slow, so that others end before their turn, and the seventh fails.
const JOB: &str =
    r#"echo $2 >> "$1"; if [ $2 = 1 ]; then sleep 1; else sleep 0.05; fi; echo result $2; [ $2 != 7 ] || exit 3"#;

struct Scene {
    rig: Rig,
    folder: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let worker = WorkerOptions::new().consumers(2).variable("GRISTMILL_ALLOW_EXEC", "sh *");
        Self { rig: Rig::with(worker), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn spawn(&self, options: &[&str]) -> Running {
        let (marks, dir, grid) = (self.path("marks"), self.path("out"), format!("n=1..{JOBS}"));
        let fixed = ["exec", "--grid", &grid, "--chunk", "1", "--results-dir", &dir];
        let command = ["--", "sh", "-c", JOB, "sh", &marks, "{n}"];
        self.rig.cli.spawn(&[&fixed[..], options, &command].concat())
    }

    /// The jobs that ran, each as often as it did.
    fn runs(&self) -> Vec<u64> {
        let marks = fs::read_to_string(self.path("marks")).unwrap_or_default();
        let mut runs: Vec<u64> = marks.lines().map(|line| line.parse().unwrap()).collect();
        runs.sort_unstable();
        runs
    }

    fn written(&self) -> usize {
        let is_job = |name: &str| name.len() == 6;
        let names = fs::read_dir(self.path("out")).into_iter().flatten();
        names.filter(|entry| is_job(entry.as_ref().unwrap().file_name().to_str().unwrap())).count()
    }

    fn sidecar(&self) -> bool {
        Path::new(&self.path("out")).join(".gristmill").exists()
    }
}

#[test]
fn killed_again_and_again_each_job_runs_once_and_all_results_are_written() {
    let scene = Scene::start();
    let client = scene.spawn(&[]);
    eventually("jobs have ended before their turn", || (scene.runs().len() >= 10).then_some(()));
    assert_eq!(scene.written(), 0, "the first still runs");
    let second = scene.spawn(&["--resume"]).wait();
    assert_says(&error(&second, 122), &["another exec writes"]);
    client.signal(Signal::SIGKILL);
    client.wait();
    assert!(scene.sidecar());

    let client = scene.spawn(&["--resume"]);
    eventually("jobs of the second batch are written", || (scene.written() >= 25).then_some(()));
    client.signal(Signal::SIGKILL);
    client.wait();

    let client = scene.spawn(&["--resume", "--unordered"]);
    eventually("jobs of the third batch are written", || (scene.written() >= 35).then_some(()));
    client.signal(Signal::SIGINT);
    let output = client.wait();
    assert_eq!(output.code, 130, "{}", output.stderr);
    assert_says(&output.stderr, &["interrupted", "--resume goes on"]);

    let changed = scene.spawn(&["--resume", "--cwd", "/"]).wait();
    assert_says(&error(&changed, 122), &["was begun with another command", "--resume needs"]);
    scene.spawn(&["--resume"]).wait();
    // What had failed and was written runs again, as it would have in any case.
    let runs = scene.runs();
    let without = |number: u64| runs.iter().filter(|run| **run != number).copied().collect::<Vec<_>>();
    assert_eq!(without(7), Vec::from_iter((1..=JOBS).filter(|number| *number != 7)), "{runs:?}");
    for number in 1..=JOBS {
        let place = scene.folder.path().join(format!("out/{number:06}"));
        assert_eq!(fs::read_to_string(place.join("stdout")).unwrap(), format!("result {number}\n"));
        let status: Value = serde_json::from_slice(&fs::read(place.join("status.json")).unwrap()).unwrap();
        assert_eq!(status["exit_code"], if number == 7 { 3 } else { 0 }, "{status}");
    }
    assert!(!scene.sidecar());
    assert_eq!(fs::read_dir(scene.path("out")).unwrap().count() as u64, JOBS, "nothing else is left there");
}

#[test]
fn what_has_ended_is_told_in_order_and_without_resume_nothing_is_taken_over() {
    let scene = Scene::start();
    let failed = scene.path("failed");
    let client = scene.spawn(&[]);
    eventually("jobs have ended before their turn", || (scene.runs().len() >= 10).then_some(()));
    client.signal(Signal::SIGKILL);
    client.wait();
    let output = scene.spawn(&["--resume", "--failed", &failed, "--max-failures", "1"]).wait();
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_says(&output.stderr, &["jobs had ended meanwhile", "job 7: failed", "1 of 60 jobs did not succeed"]);
    let wanted: String = (1..=JOBS).map(|number| format!("result {number}\n")).collect();
    assert_eq!(output.stdout, wanted);
    assert_eq!(fs::read_to_string(&failed).unwrap(), "{\"n\":7}\n");
    assert_eq!(scene.runs(), Vec::from_iter(1..=JOBS));
    assert!(!scene.sidecar());

    let client = scene.spawn(&[]);
    eventually("they run again", || (scene.runs().len() as u64 >= JOBS + 5).then_some(()));
    client.signal(Signal::SIGKILL);
    client.wait();
    let output = scene.spawn(&[]).wait();
    assert_eq!((output.code, output.stdout), (1, wanted), "{}", output.stderr);
    // All of this run, and of the one before what it had begun with.
    assert!((2 * JOBS + 5..2 * JOBS + 40).contains(&(scene.runs().len() as u64)), "{:?}", scene.runs());
    assert!(!scene.sidecar());
}
