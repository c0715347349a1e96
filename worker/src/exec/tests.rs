//! Real programs, run by the kernel as a function.
//!
//! One at a time: each takes whatever child this process gets meanwhile for its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gristmill_shared::kernel::Retry;
use gristmill_shared::{Bytes, codec};
use nix::sys::prctl;

use super::*;

static ONE: Mutex<()> = Mutex::new(());

/// Programs that leave their session become children of this process, as they do in a consumer.
fn alone() -> MutexGuard<'static, ()> {
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    prctl::set_child_subreaper(true).unwrap();
    guard
}

fn policy(patterns: &[&str]) -> Policy {
    let mut names = Names::default();
    names.add("A_*").unwrap();
    Policy {
        patterns: patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
        names,
        dirs: vec!["/usr".into()],
        inherited: Inherited::of(std::env::vars_os()),
    }
}

fn context() -> TaskContext {
    TaskContext::detached().with_state(policy(&["*"]))
}

fn shell(script: &str) -> ExecArgs {
    ExecArgs::new(["sh", "-c", script])
}

fn run(args: ExecArgs) -> Result<ExecOutput, KernelError> {
    let _one = alone();
    exec(&context(), args)
}

fn details(error: &KernelError) -> ExecOutput {
    codec::decode(error.details_bytes().expect("it has details")).unwrap()
}

#[test]
fn a_program_gets_its_input_and_its_output_is_kept() {
    let stdin = Some(Bytes(b"three\0lines\xff\n".to_vec()));
    let output = run(ExecArgs { stdin, ..shell("cat; echo bad >&2") }).unwrap();
    assert_eq!((output.exit_code, output.signal), (Some(0), None));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"three\0lines\xff\n"[..], &b"bad\n"[..]));
    assert_eq!((output.stdout_bytes, output.stderr_bytes), (13, 4));
    assert!(output.max_rss_bytes > 100 << 10, "{output:?}");
    assert_eq!(output.attempt, 1);
}

#[test]
fn both_streams_may_be_long_and_their_ends_are_kept() {
    let script = "i=0; while [ $i -lt 40 ]; do head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2; i=$((i+1)); done; \
                  printf end; printf END >&2";
    let output = run(ExecArgs { output_max: Some(5), ..shell(script) }).unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"\0\0end"[..], &b"\0\0END"[..]));
    assert_eq!((output.stdout_bytes, output.stderr_bytes), (4_000_003, 4_000_003));
    let output = run(shell("head -c 3000000 /dev/zero")).unwrap();
    assert_eq!((output.stdout.len(), output.stdout_bytes), (1 << 20, 3_000_000));
}

#[test]
fn a_program_may_ignore_its_input_and_close_what_it_likes() {
    let stdin = Some(Bytes(vec![b'x'; 4 << 20]));
    for script in ["exit 0", "exec <&-; sleep 0.05", "exec >&- 2>&-; sleep 0.05", "head -c 1 >/dev/null; sleep 0.05"] {
        let began = Instant::now();
        assert!(run(ExecArgs { stdin: stdin.clone(), ..shell(script) }).is_ok(), "{script}");
        assert!(began.elapsed() < Duration::from_secs(20), "{script}");
    }
    let output = run(ExecArgs { stdin, ..shell("wc -c") }).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "4194304");
}

#[test]
fn nobody_waits_for_what_a_program_leaves_behind() {
    // One in its group, one in a session of its own whose parent is gone; both keep the pipes open.
    let script = "sleep 600 & echo $!; setsid sh -c 'sleep 600 & echo $!'; echo done";
    let began = Instant::now();
    let output = run(shell(script)).unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[2]), (3, "done"), "{text}");
    for pid in &lines[..2] {
        assert!(!std::fs::exists(format!("/proc/{pid}")).unwrap(), "{pid} lives");
    }
    assert!(tree::children().is_empty(), "they were reaped, too");
}

#[test]
fn a_bad_end_is_an_error_that_says_why() {
    let error = run(shell("echo out; echo first >&2; echo '  no such seed ' >&2; echo >&2; exit 3")).unwrap_err();
    assert_eq!((error.message(), error.kind_name()), ("exit status 3: no such seed", Some("exit")));
    assert_eq!(error.retry(), Retry::AsConfigured);
    let found = details(&error);
    assert_eq!((found.exit_code, found.signal, &found.stdout[..]), (Some(3), None, &b"out\n"[..]));
    let error = run(shell("kill -9 $$")).unwrap_err();
    assert_eq!((error.message(), error.kind_name()), ("killed by SIGKILL", Some("signal")));
    assert_eq!((details(&error).exit_code, details(&error).signal), (None, Some(9)));
    let error = run(shell("head -c 100000 /dev/zero | tr '\\0' y; head -c 100000 /dev/zero >&2; exit 1")).unwrap_err();
    let found = details(&error);
    assert_eq!((found.stdout.len(), found.stderr.len(), found.stdout_bytes), (6 << 10, 6 << 10, 100_000));
}

#[test]
fn a_cancelled_program_is_asked_and_then_ended() {
    for (script, at_most) in [("sleep 600 & sleep 600", 1_500), ("trap '' TERM; sleep 600; sleep 600", 10_000)] {
        let _one = alone();
        let stop = Arc::new(AtomicBool::new(false));
        let context = context().with_stop(Arc::clone(&stop));
        let setter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
        });
        let began = Instant::now();
        assert!(exec(&context, shell(script)).is_err());
        assert!(began.elapsed() < Duration::from_millis(at_most), "{script}: {:?}", began.elapsed());
        setter.join().unwrap();
        assert!(tree::children().is_empty());
    }
}

#[test]
fn at_the_soft_limit_a_program_may_end_well() {
    let _one = alone();
    let context = context().soft_time_limit(Some(Duration::from_millis(50)));
    let output = exec(&context, shell("trap 'echo saved; exit 0' TERM; sleep 600 & wait")).unwrap();
    assert_eq!(&output.stdout[..], b"saved\n");
    let error = exec(&context, shell("sleep 600")).unwrap_err();
    assert_eq!(error.message(), "killed by SIGTERM after its soft time limit");
}

#[test]
fn a_program_learns_who_it_is_and_nothing_else() {
    let output = run(ExecArgs { env: [("A_B".into(), "c d".into())].into(), ..ExecArgs::new(["env"]) }).unwrap();
    let text = String::from_utf8(output.stdout.0).unwrap();
    assert!(text.contains("A_B=c d\n") && text.contains("GRISTMILL_ATTEMPT=1\n"), "{text}");
    let names = text.lines().filter_map(|line| Some(line.split_once('=')?.0));
    let known = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "A_B"];
    let foreign: Vec<_> = names
        .filter(|name| !known.contains(name) && !name.starts_with("LC_") && !name.starts_with("GRISTMILL_"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(!text.contains("CARGO"), "{text}");
}

#[test]
fn a_program_runs_where_it_is_told_without_a_terminal_or_our_files() {
    let file = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let script = "pwd; ls /proc/self/fd | wc -l; grep -c 'NoNewPrivs:.1' /proc/self/status; (: </dev/tty) 2>&1 | wc -l";
    let output = run(ExecArgs { cwd: Some("/usr/bin".into()), ..shell(script) }).unwrap();
    // The fourth descriptor is that of ls itself.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/usr/bin\n4\n1\n1\n");
}

#[test]
fn what_no_program_can_be_given_is_refused() {
    for (argv, told) in [
        (vec![], "argv is empty"),
        (vec![String::new()], "name is empty"),
        (vec!["echo".into(), "a\0b".into()], "argv[1] has a NUL byte"),
        (vec!["echo".into(), "x".repeat(131_072)], "argv[1] has 131072 bytes"),
        (vec!["./echo".into()], "absolute path"),
        (vec!["/bin/../bin/echo".into()], "absolute path without .."),
    ] {
        let error = run(ExecArgs { argv, ..ExecArgs::default() }).unwrap_err();
        assert!(error.message().contains(told), "{told}: {error}");
        assert_eq!((error.kind_name(), error.retry()), (Some("not_allowed"), Retry::Never), "{told}");
    }
    let many = vec!["echo".to_owned(); 1_000_000];
    let error = run(ExecArgs { argv: many, ..ExecArgs::default() }).unwrap_err();
    assert!(error.message().contains("too long for the system: 1000000 elements"), "{error}");
    let error = run(ExecArgs { output_max: Some(u64::MAX), ..shell("true") }).unwrap_err();
    assert!(error.message().contains("use at most 15728640"), "{error}");
    let error = run(ExecArgs::new(["surely-not-here"])).unwrap_err();
    assert_eq!((error.kind_name(), error.retry()), (Some("start"), Retry::AsConfigured), "another machine may have it");
}

#[test]
fn what_is_not_allowed_does_not_run_and_no_pattern_is_told() {
    let _one = alone();
    let context = TaskContext::detached().with_state(policy(&["echo hi", "secret-tool *"]));
    assert_eq!(&exec(&context, ExecArgs::new(["echo", "hi"])).unwrap().stdout[..], b"hi\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for argv in [&["rm", path][..], &["echo", "hi", "there"], &["/bin/echo", "hi"], &["echo hi"]] {
        let error = exec(&context, ExecArgs::new(argv.to_vec())).unwrap_err();
        assert!(error.message().contains("any of the 2 patterns") && !error.message().contains("secret"), "{error}");
        assert_eq!((error.kind_name(), error.retry()), (Some("not_allowed"), Retry::Never));
    }
    assert!(file.path().exists());
}
