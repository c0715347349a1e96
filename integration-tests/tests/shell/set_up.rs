//! `.ci/tools demo`: the set-up of a fresh machine, with programs that only note that they were called.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::rig::assert_says;

/// A machine that has nothing but these programs.
struct Machine {
    bin: TempDir,
}

impl Machine {
    fn new(user: u32) -> Self {
        let machine = Self { bin: tempfile::tempdir().unwrap() };
        for program in ["bash", "dirname", "env", "touch", "chmod"] {
            let mut places = ["/bin", "/usr/bin"].iter().map(|dir| Path::new(dir).join(program));
            symlink(places.find(|path| path.exists()).unwrap(), machine.bin.path().join(program)).unwrap();
        }
        machine.has("cargo", "exit 0").has("gcc", "exit 0").has("id", &format!("echo {user}"))
    }

    fn has(self, program: &str, script: &str) -> Self {
        let path = self.bin.path().join(program);
        fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// An apt-get that notes its arguments, and installs a server.
    fn has_apt(self) -> Self {
        let server = self.bin.path().join("redis-server");
        let (calls, server) = (self.calls(), server.display().to_string());
        let script = format!("echo \"$@\" >>{}; touch {server}; chmod +x {server}", calls.display());
        self.has("apt-get", &script)
    }

    fn calls(&self) -> PathBuf {
        self.bin.path().join("calls")
    }

    /// Runs the set-up; returns its code and all that it said.
    fn set_up(&self) -> (i32, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/tools");
        let mut command = Command::new(script);
        command.arg("demo").env("PATH", self.bin.path()).env("CARGO_HOME", self.bin.path().join("none"));
        let output = command.env_remove("GRISTMILL_REDIS_SERVER").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }
}

/// One line that tells what is missing, why it stays so, and what to do.
fn assert_refused(machine: &Machine, why: &str) {
    let (code, said) = machine.set_up();
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert_says(&said, &["redis-server is missing", why, "as root: apt-get install redis-server"]);
}

#[test]
fn root_gets_a_server_once() {
    let machine = Machine::new(0).has_apt();
    assert_eq!(machine.set_up(), (0, "installing redis-server\n".to_owned()));
    let calls = fs::read_to_string(machine.calls()).unwrap();
    assert_eq!(calls, "update -qq\ninstall -y -qq --no-install-recommends redis-server\n");
    assert_eq!(machine.set_up(), (0, String::new()), "there is nothing left to do");
    assert_eq!(fs::read_to_string(machine.calls()).unwrap(), calls);
}

#[test]
fn somebody_else_gets_it_with_sudo() {
    let machine = Machine::new(1000).has_apt().has("sudo", r#"[ "$1" = -n ] && shift; [ "$1" = true ] || exec "$@""#);
    assert_eq!(machine.set_up(), (0, "installing redis-server\n".to_owned()));
}

#[test]
fn a_server_of_any_name_is_enough() {
    assert_eq!(Machine::new(1000).has("valkey-server", "exit 0").set_up(), (0, String::new()));
}

#[test]
fn where_it_is_impossible_one_line_says_so() {
    assert_refused(&Machine::new(0), "there is no apt-get here");
    assert_refused(&Machine::new(1000).has_apt(), "this user is not root, and there is no sudo");
    let machine = Machine::new(1000).has_apt().has("sudo", "exit 1");
    assert_refused(&machine, "sudo wants a password but has no terminal to ask");
    let machine = Machine::new(0).has("apt-get", "exit 100");
    let (code, said) = machine.set_up();
    assert_eq!(code, 1);
    assert_says(&said, &["apt-get could not install it", "as root: apt-get install redis-server"]);
}
