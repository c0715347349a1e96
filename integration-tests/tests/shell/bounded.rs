//! However many lines a map has, it holds a window of them.

use std::fs::{self, File};
use std::process::Stdio;

use gristmill_integration_tests::{WorkerOptions, eventually};
use tempfile::TempDir;

use crate::rig::{Rig, command};

/// The most memory that a `map` of so many lines held, in KiB, and the most that Redis did, in bytes.
fn peaks(rig: &mut Rig, dir: &TempDir, lines: u64, more: &[&str]) -> (u64, u64) {
    let path = dir.path().join("in");
    fs::write(&path, (0..lines).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let mut most_in_redis = 0;
    let mut map = command(&rig.redis, &[&["map", "square"], more].concat());
    map.stdin(File::open(path).unwrap()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut map = map.spawn().unwrap();
    let mut most = 0;
    // It shows its peak for as long as it lives: the last look is all but the end of it.
    let status = eventually("the end of the map", || {
        let shown = fs::read_to_string(format!("/proc/{}/status", map.id())).unwrap_or_default();
        let peak = shown.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(peak.unwrap_or(0));
        let info: String = rig.redis.command("INFO memory");
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        most_in_redis = most_in_redis.max(used.unwrap_or(0));
        map.try_wait().unwrap()
    });
    assert!(status.success());
    (most, most_in_redis)
}

#[test]
fn ten_times_the_lines_take_no_more_memory() {
    let mut rig = Rig::with(WorkerOptions::new().consumers(2));
    let dir = tempfile::tempdir().unwrap();
    for more in [&["--unordered"][..], &["--output", "/dev/null"]] {
        let (few, many) = (peaks(&mut rig, &dir, 10_000, more), peaks(&mut rig, &dir, 100_000, more));
        println!("{more:?}: {few:?}, {many:?} KiB and bytes in Redis");
        assert!(many.0 < 64 * 1024 && many.0 < few.0 + 16 * 1024, "the client held {} KiB, then {} KiB", few.0, many.0);
        assert!(many.1 < few.1 + (16 << 20), "Redis held {} bytes, then {}", few.1, many.1);
    }
}
