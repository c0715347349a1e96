//! A worker that is started as somebody would in a shell, and may not come up at all.

use std::process::{Child, Command, Stdio};

use gristmill_integration_tests::{Log, binaries, wait};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// Dropping it kills the supervisor; its processes follow.
pub struct BareWorker {
    child: Child,
    pub log: Log,
}

impl BareWorker {
    /// Starts a worker with one consumer; the URL stands in the environment.
    pub fn start(url: &str, args: &[&str]) -> Self {
        let mut child = Command::new(binaries::find("gristmill-worker"))
            .args(["--consumers", "1"])
            .args(args)
            .env("GRISTMILL_REDIS", url)
            .env_remove("GRISTMILL_NAMESPACE")
            .env("GRISTMILL_LOG", "debug")
            .env_remove("GRISTMILL_LOG_FORMAT")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the worker runs");
        let log = Log::of(child.stderr.take().expect("stderr is piped"));
        Self { child, log }
    }

    pub fn terminate(&self) {
        signal::kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("our own child");
    }

    /// Waits for its end; returns the exit code and all that it wrote.
    pub fn wait(mut self) -> (i32, Vec<String>) {
        let status = wait::eventually("the worker ends", || self.child.try_wait().expect("our own child"));
        self.log.join();
        let lines = self.log.all(|_| true).iter().map(|line| line.text("text").to_owned()).collect();
        (status.code().unwrap_or(-1), lines)
    }
}

impl Drop for BareWorker {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
