//! The binaries under test, and proof that they are not stale.
//!
//! Cargo hands a test only the binaries of its own package. Those of other packages are looked for
//! beside the test; each is compared with every source file that cargo says it was made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const REMEDY: &str = "run: cargo build --workspace --bins";

/// The binary of that name in the target directory of the running test.
///
/// # Panics
/// If it is missing, or older than one of its sources.
pub fn find(name: &str) -> PathBuf {
    let binary = target_directory().join(name);
    if let Err(why) = check(&binary) {
        panic!("{why}; {REMEDY}");
    }
    binary
}

/// `target/<profile>`: tests stand in `deps` below it.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let deps = test.parent().expect("it stands in a directory");
    let above = if deps.ends_with("deps") { deps.parent() } else { Some(deps) };
    above.expect("deps stands in a directory").to_owned()
}

fn check(binary: &Path) -> Result<(), String> {
    let built = changed_at(binary).ok_or_else(|| format!("there is no {}", binary.display()))?;
    let list = binary.with_extension("d");
    let text = fs::read_to_string(&list).map_err(|error| format!("cannot read {}: {error}", list.display()))?;
    for source in sources(&text) {
        match changed_at(&source) {
            Some(changed) if changed <= built => {}
            Some(_) => return Err(format!("{} is older than {}", binary.display(), source.display())),
            None => return Err(format!("{} was made of {}, which is gone", binary.display(), source.display())),
        }
    }
    Ok(())
}

/// The files after the colon. Spaces inside a name are escaped with a backslash.
fn sources(dep_info: &str) -> Vec<PathBuf> {
    let first = dep_info.lines().next().unwrap_or_default();
    let Some((_, list)) = first.split_once(": ") else { return Vec::new() };
    let placeholder = '\0';
    let list = list.replace("\\ ", &placeholder.to_string());
    list.split_ascii_whitespace().map(|path| PathBuf::from(path.replace(placeholder, " "))).collect()
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_is_read() {
        let found = sources("/t/debug/w: /a/b.rs /a/with\\ space.rs\n\n/a/b.rs:\n");
        assert_eq!(found, [PathBuf::from("/a/b.rs"), PathBuf::from("/a/with space.rs")]);
    }

    #[test]
    fn a_binary_older_than_its_source_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (binary, source) = (dir.path().join("w"), dir.path().join("w.rs"));
        fs::write(&source, "").unwrap();
        fs::write(&binary, "").unwrap();
        fs::write(dir.path().join("w.d"), format!("{}: {}\n", binary.display(), source.display())).unwrap();
        assert_eq!(check(&binary), Ok(()));
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        fs::File::options().write(true).open(&source).unwrap().set_modified(later).unwrap();
        assert!(check(&binary).unwrap_err().contains("is older than"));
        fs::remove_file(&source).unwrap();
        assert!(check(&binary).unwrap_err().contains("which is gone"));
    }
}
