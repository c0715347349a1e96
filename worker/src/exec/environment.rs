//! The environment of a program: little of the worker's, who the task is, and what the task may set.
//!
//! The worker's own environment is not inherited: a password may stand in it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use gristmill_shared::{KernelError, TaskContext};

use super::pattern::matches;
use super::refused;

/// Passed on from the worker, where it has them.
const INHERITED: &[&str] = &["HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR"];
/// Set by the worker, and by nobody else.
const OWN: &str = "GRISTMILL_*";
/// Where programs are looked for, if the worker was not told.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// These decide what code the system or a shell loads and runs: no task ever sets them.
const NEVER: &[&str] = &[
    OWN,
    "PATH",
    "LD_*",
    "DYLD_*",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "LOCPATH",
    "NLSPATH",
    "IFS",
    "ENV",
    "BASH_ENV",
    "BASH_FUNC_*",
    "BASHOPTS",
    "SHELLOPTS",
    "PS4",
    "PROMPT_COMMAND",
    "ZDOTDIR",
];
/// These make some interpreter or tool load code: a `*` does not cover them, only their name in full.
const BY_NAME_ONLY: &[&str] = &[
    "HOME",
    "USER",
    "TMPDIR",
    "SHELL",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "PYTHON*",
    "PERL*",
    "RUBY*",
    "GEM_*",
    "NODE_*",
    "NPM_*",
    "JAVA_*",
    "JDK_*",
    "_JAVA_OPTIONS",
    "CLASSPATH",
    "R_*",
    "LUA_*",
    "TCL*",
    "GIT_*",
    "SSH_*",
    "CC",
    "CXX",
    "MALLOC_*",
    "OPENSSL_*",
    "XDG_*",
];

/// Names of variables that tasks may set; `*` stands for any text.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// Adds a name; the error says what is wrong with it.
    pub(super) fn add(&mut self, name: &str) -> Result<(), String> {
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*';
        if name.is_empty() || !name.chars().all(sound) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("is no name of a variable: use letters, digits, _ and *".to_owned());
        }
        // `LD_PRE*` covers nothing that could ever be set, which nobody means.
        if covered(NEVER, name) {
            return Err("decides what code is loaded: no task can set it".to_owned());
        }
        self.0.push(name.to_owned());
        Ok(())
    }

    fn allow(&self, name: &str) -> bool {
        let in_full = self.0.iter().any(|allowed| allowed == name);
        !covered(NEVER, name)
            && (in_full || (!covered(BY_NAME_ONLY, name) && self.0.iter().any(|allowed| matches(allowed, name))))
    }
}

fn covered(list: &[&str], name: &str) -> bool {
    list.iter().any(|pattern| matches(pattern, name))
}

/// What every program gets of the worker's environment.
#[derive(Debug, Clone)]
pub(super) struct Inherited {
    variables: Vec<(OsString, OsString)>,
    /// Where programs are looked for.
    pub(super) path: OsString,
}

impl Inherited {
    /// What is to be passed on of these.
    pub(super) fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut path = OsString::from(DEFAULT_PATH);
        let mut kept = Vec::new();
        for (name, value) in variables {
            match name.to_str() {
                Some("PATH") if !value.is_empty() => path = value,
                Some(text) if covered(INHERITED, text) => kept.push((name, value)),
                _ => {}
            }
        }
        Self { variables: kept, path }
    }

    /// The whole environment of a program: later ones of the same name win.
    pub(super) fn with(
        &self,
        task: &TaskContext,
        set: &BTreeMap<String, String>,
        allowed: &Names,
    ) -> Result<Vec<(OsString, OsString)>, KernelError> {
        let mut all = self.variables.clone();
        all.push(("PATH".into(), self.path.clone()));
        for (name, value) in set {
            check(name, value, allowed)?;
            all.push((name.into(), value.into()));
        }
        let id = task.task();
        for (name, value) in [
            ("GRISTMILL_TASK", id.to_string()),
            ("GRISTMILL_BATCH", id.batch.to_string()),
            ("GRISTMILL_INDEX", id.index.to_string()),
            ("GRISTMILL_ATTEMPT", task.attempt().to_string()),
        ] {
            all.push((name.into(), value.into()));
        }
        Ok(all)
    }
}

fn check(name: &str, value: &str, allowed: &Names) -> Result<(), KernelError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(refused(format!("{name:?} is no name of an environment variable")));
    }
    if value.contains('\0') {
        return Err(refused(format!("the variable {name} has a NUL byte, which no program can be given")));
    }
    if covered(NEVER, name) {
        return Err(refused(format!("no task can set the variable {name}")));
    }
    if !allowed.allow(name) {
        return Err(refused(format!("this worker lets no task set {name}: its operator can, with --allow-exec-env")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(allowed: &[&str]) -> Names {
        let mut names = Names::default();
        allowed.iter().for_each(|name| names.add(name).unwrap());
        names
    }

    fn with(inherited: &[(&str, &str)], set: &[(&str, &str)], allowed: &[&str]) -> Result<Vec<String>, String> {
        let inherited = Inherited::of(inherited.iter().map(|(name, value)| (name.into(), value.into())));
        let set = set.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let all = inherited.with(&TaskContext::detached(), &set, &names(allowed)).map_err(|error| error.to_string())?;
        Ok(all.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect())
    }

    #[test]
    fn little_is_inherited() {
        let own = [("GRISTMILL_REDIS", "redis://:secret@h"), ("AWS_KEY", "k"), ("HOME", "/h"), ("LC_ALL", "C")];
        let all = with(&own, &[], &[]).unwrap();
        let id = "00000000-0000-0000-0000-000000000000";
        assert_eq!(
            all,
            [
                "HOME=/h",
                "LC_ALL=C",
                "PATH=/usr/local/bin:/usr/bin:/bin",
                &format!("GRISTMILL_TASK={id}.0"),
                &format!("GRISTMILL_BATCH={id}"),
                "GRISTMILL_INDEX=0",
                "GRISTMILL_ATTEMPT=1"
            ]
        );
        assert!(with(&[("PATH", "/x")], &[], &[]).unwrap().contains(&"PATH=/x".to_owned()));
    }

    #[test]
    fn a_task_sets_what_is_allowed() {
        let all = with(&[], &[("OMP_NUM_THREADS", "1"), ("SEED", "")], &["OMP_*", "SEED"]).unwrap();
        assert!(all.contains(&"OMP_NUM_THREADS=1".to_owned()) && all.contains(&"SEED=".to_owned()), "{all:?}");
        let error = with(&[], &[("SEEDS", "1")], &["OMP_*", "SEED"]).unwrap_err();
        assert!(error.contains("SEEDS") && error.contains("--allow-exec-env"), "{error}");
    }

    #[test]
    fn what_loads_code_is_never_set() {
        for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "BASH_ENV", "IFS", "GRISTMILL_TASK", "GRISTMILL_REDIS"] {
            assert!(with(&[], &[(name, "x")], &["*"]).is_err(), "{name}");
            assert!(Names::default().add(name).is_err(), "{name}");
        }
        assert!(Names::default().add("LD_PRE*").is_err());
        for name in ["PYTHONPATH", "NODE_OPTIONS", "PERL5OPT", "HOME", "JAVA_TOOL_OPTIONS"] {
            assert!(with(&[], &[(name, "x")], &["*"]).is_err(), "{name}");
            assert!(with(&[], &[(name, "x")], &[name]).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_and_values_that_no_program_can_have_are_refused() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            assert!(with(&[], &[(name, value)], &["*"]).is_err(), "{name:?} {value:?}");
        }
        for name in ["", "1A", "A B", "A=B", "Ä", "A-B"] {
            assert!(Names::default().add(name).is_err(), "{name:?}");
        }
    }
}
