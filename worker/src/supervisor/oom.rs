//! Whether a SIGKILL came from the system's out-of-memory killer.
//!
//! The kernel counts its kills: per cgroup, or at least for the machine. A count that rose within the
//! last seconds explains one SIGKILL per kill; any other came from a person or a machine going down.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A large process takes this long to die at most after the kernel has counted its kill.
const MEMORY: Duration = Duration::from_secs(5);
const FIELD: &str = "oom_kill";

/// Watches the count.
#[derive(Debug)]
pub(super) struct OomWatch {
    file: Option<PathBuf>,
    samples: VecDeque<(Instant, u64)>,
}

impl OomWatch {
    /// Finds the file with the count: of the own cgroup, else of the machine.
    pub(super) fn new(now: Instant) -> Self {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = candidates(&groups).into_iter().find(|file| read(file).is_some());
        Self::watching(file, now)
    }

    fn watching(file: Option<PathBuf>, now: Instant) -> Self {
        let mut watch = Self { file, samples: VecDeque::new() };
        watch.sample(now);
        watch
    }

    /// Remembers the count of now; to be called about once a second.
    pub(super) fn sample(&mut self, now: Instant) {
        let Some(count) = self.count() else { return };
        self.samples.push_back((now, count));
        while self.samples.len() > 1 && now.duration_since(self.samples[0].0) > MEMORY {
            self.samples.pop_front();
        }
    }

    /// Explains one SIGKILL by one kill that the kernel counted lately, if there is one left.
    pub(super) fn charge(&mut self) -> bool {
        let (Some(count), Some(&(_, before))) = (self.count(), self.samples.front()) else { return false };
        if count <= before {
            return false;
        }
        for (_, sample) in &mut self.samples {
            *sample = (*sample + 1).min(count);
        }
        true
    }

    fn count(&self) -> Option<u64> {
        read(self.file.as_deref()?)
    }
}

/// Files that may hold the count, best first. `groups` is /proc/self/cgroup.
fn candidates(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            files.push(Path::new("/sys/fs/cgroup").join(path).join("memory.events"));
        } else if controllers.split(',').any(|name| name == "memory") {
            files.push(Path::new("/sys/fs/cgroup/memory").join(path).join("memory.oom_control"));
        }
    }
    files.push("/proc/vmstat".into());
    files
}

fn read(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (field, count) = line.split_once(' ')?;
        if field == FIELD { count.trim().parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_both_kinds_of_cgroup() {
        let files = candidates("4:memory:/a/b\n3:cpu,cpuacct:/\n0::/\n");
        let text: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        assert_eq!(
            text,
            ["/sys/fs/cgroup/memory/a/b/memory.oom_control", "/sys/fs/cgroup/memory.events", "/proc/vmstat"]
        );
    }

    #[test]
    fn each_counted_kill_explains_one_death() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.events");
        let set = |count: u64| std::fs::write(&file, format!("low 0\noom 9\noom_kill {count}\n")).unwrap();
        set(3);
        let start = Instant::now();
        let mut watch = OomWatch::watching(Some(file.clone()), start);
        assert!(!watch.charge());
        set(5);
        watch.sample(start + Duration::from_secs(1));
        assert!(watch.charge(), "a sample in between forgets nothing");
        assert!(watch.charge());
        assert!(!watch.charge());
        set(6);
        for second in 2..20 {
            watch.sample(start + Duration::from_secs(second));
        }
        assert!(!watch.charge(), "an old kill explains nothing");
    }
}
