//! A small process that outlives its owner just long enough to clean up.
//!
//! A parent-death signal would not do: it fires when the *thread* ends that spawned the child, and
//! test runners start every test on a thread of its own. The minder instead reads from a pipe whose
//! other end only the owner holds. The end of that pipe means that the owner is gone, however it
//! went; the minder then kills the server and removes its directory.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// `$1` is the directory. Each line is the pid of the server (`-`: none), or `bye`.
const SCRIPT: &str = r#"
pid=-
while read -r line; do
    case $line in
        bye) exit 0 ;;
        *) pid=$line ;;
    esac
done
if [ "$pid" != - ]; then kill -9 "$pid" 2>/dev/null; fi
rm -rf -- "$1"
"#;

#[derive(Debug)]
pub(crate) struct Minder {
    child: Child,
    pipe: ChildStdin,
}

impl Minder {
    /// Watches over `dir`, which it removes when the owner is gone.
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(SCRIPT)
            .arg("gristmill-minder")
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C on the terminal must not end the minder before its owner.
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().ok_or_else(|| io::Error::other("the minder has no standard input"))?;
        Ok(Self { child, pipe })
    }

    /// Tells which process to kill. `None` as soon as the server was reaped: its pid may then be
    /// somebody else's.
    pub(crate) fn watch(&mut self, pid: Option<u32>) -> io::Result<()> {
        match pid {
            Some(pid) => writeln!(self.pipe, "{pid}"),
            None => writeln!(self.pipe, "-"),
        }
    }

    /// Ends the minder, which then touches nothing.
    pub(crate) fn dismiss(&mut self) {
        if writeln!(self.pipe, "bye").is_err() {
            // It is gone or going; a kill of an unreaped child hits nobody else.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
