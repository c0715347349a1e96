//! The flags by which an operator allows programs.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Policy;
use super::environment::{Inherited, Names};
use super::pattern::Pattern;

/// The part of the command line that concerns `exec`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Programs as tasks")]
pub(crate) struct ExecFlags {
    /// Offer the kernel `exec` for commands that fit this pattern: words, separated by blanks, that match the
    /// program and its arguments one by one. A word * is any argument, a last word * any further ones. * within a word
    /// is any text, with / but without a .. of a path: 'convert /data/*.png *' reads no file outside of /data by its
    /// first argument, unless a symbolic link leads there. Nothing binds what a * alone stands for: any path, and any
    /// option that the program has. Several: repeat it, or separate them by ;. Whoever can submit tasks can run what
    /// fits, as the user of this worker: 'python3 *' is any code at all, 'python3 /srv/train.py *' is not. A worker
    /// refuses for good what does not fit, though another one may allow it: those that serve a queue need the same
    /// patterns.
    #[arg(long = "allow-exec", value_name = "PATTERN", env = "GRISTMILL_ALLOW_EXEC", value_delimiter = ';')]
    patterns: Vec<String>,
    /// Environment variables that tasks may set for programs, * for any text: OMP_*,SEED. None that decides what code
    /// is loaded: PATH and LD_* never, PYTHONPATH and the like only when named in full.
    #[arg(long = "allow-exec-env", value_name = "A,B", env = "GRISTMILL_ALLOW_EXEC_ENV", value_delimiter = ',')]
    names: Vec<String>,
    /// Directories in which, and beneath which, tasks may run programs: /srv/a:/srv/b. Without it all run where the
    /// worker was started.
    #[arg(long = "allow-exec-dir", value_name = "DIR", env = "GRISTMILL_ALLOW_EXEC_DIR", value_delimiter = ':')]
    dirs: Vec<PathBuf>,
}

impl ExecFlags {
    /// What is allowed; none: nothing is. Adds a line for everything that is wrong.
    pub(crate) fn check(&self, errors: &mut Vec<String>) -> Option<Policy> {
        let before = errors.len();
        let mut patterns = Vec::new();
        for text in &self.patterns {
            match Pattern::parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => errors.push(format!("--allow-exec {text:?} {error}")),
            }
        }
        let mut names = Names::default();
        for name in &self.names {
            if let Err(error) = names.add(name) {
                errors.push(format!("--allow-exec-env {name:?} {error}"));
            }
        }
        let mut dirs = Vec::new();
        for dir in &self.dirs {
            match real(dir) {
                Ok(dir) => dirs.push(dir),
                Err(error) => errors.push(format!("--allow-exec-dir {:?} {error}", dir.display().to_string())),
            }
        }
        if self.patterns.is_empty() {
            let others = [("--allow-exec-env", self.names.is_empty()), ("--allow-exec-dir", self.dirs.is_empty())];
            for (name, _) in others.iter().filter(|(_, empty)| !empty) {
                errors.push(format!("{name} has no effect without --allow-exec: allow programs, too, or drop it"));
            }
            return None;
        }
        let inherited = Inherited::of(std::env::vars_os());
        (errors.len() == before).then_some(Policy { patterns, names, dirs, inherited })
    }
}

/// The real path of a directory.
fn real(dir: &Path) -> Result<PathBuf, String> {
    if !dir.is_absolute() {
        return Err("is no absolute path".to_owned());
    }
    match dir.canonicalize() {
        Ok(real) if real.is_dir() => Ok(real),
        Ok(_) => Err("is no directory".to_owned()),
        Err(error) => Err(format!("cannot be used: {error}")),
    }
}

impl Policy {
    /// Whether any command at all is allowed.
    pub(crate) fn allows_everything(&self) -> bool {
        self.patterns.iter().any(Pattern::is_everything)
    }

    /// The patterns, for the operator's log.
    pub(crate) fn patterns(&self) -> String {
        self.patterns.iter().map(|pattern| format!("{:?}", pattern.to_string())).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        exec: ExecFlags,
    }

    fn check(args: &[&str]) -> (Option<Policy>, Vec<String>) {
        let mut errors = Vec::new();
        let line = Line::parse_from([&["w"], args].concat());
        (line.exec.check(&mut errors), errors)
    }

    #[test]
    fn nothing_is_allowed_unless_somebody_says_so() {
        let (policy, errors) = check(&[]);
        assert!(policy.is_none() && errors.is_empty());
        let (policy, errors) = check(&["--allow-exec-env", "A", "--allow-exec-dir", "/"]);
        assert!(policy.is_none());
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("--allow-exec-env has no effect without --allow-exec"), "{errors:?}");
    }

    #[test]
    fn everything_that_is_wrong_is_a_line() {
        let patterns = ["--allow-exec", "cat a | sh", "--allow-exec", "", "--allow-exec=ls;./x"];
        let others = ["--allow-exec-env", "LD_PRELOAD,OK", "--allow-exec-dir", "relative:/nowhere/at/all"];
        let (policy, errors) = check(&[&patterns[..], &others].concat());
        assert!(policy.is_none());
        let begins = [
            "--allow-exec \"cat a | sh\" has '|'",
            "--allow-exec \"\" is empty",
            "--allow-exec \"./x\" has a relative path",
            "--allow-exec-env \"LD_PRELOAD\" decides",
            "--allow-exec-dir \"relative\" is no absolute path",
            "--allow-exec-dir \"/nowhere/at/all\" cannot be used",
        ];
        assert_eq!(errors.len(), begins.len(), "{errors:?}");
        assert!(errors.iter().zip(begins).all(|(error, begin)| error.starts_with(begin)), "{errors:?}");
        assert!(errors.iter().all(|error| !error.contains('\n')));
    }

    #[test]
    fn several_are_repeated_or_separated() {
        let (policy, errors) = check(&["--allow-exec", "ls *;date", "--allow-exec", "true", "--allow-exec-env=A,B_*"]);
        assert_eq!(
            (policy.map(|policy| policy.patterns()), errors),
            (Some(r#""ls *", "date", "true""#.to_owned()), Vec::new())
        );
    }
}
