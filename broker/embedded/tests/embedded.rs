//! A private server starts, survives what it should, and leaves nothing behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use gristmill_embedded::{AppendOnly, EmbeddedError, EmbeddedOptions, EmbeddedRedis};

fn say(socket: &Path, inline: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{inline}\r").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Holds a connection; the server's end closes it.
fn connection(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn wait_for_the_end(mut stream: UnixStream) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut rest);
}

#[test]
fn it_answers_on_a_private_socket_and_leaves_nothing() {
    let redis = EmbeddedRedis::start().unwrap();
    let home = redis.socket_path().parent().unwrap().to_owned();
    assert_eq!(say(redis.socket_path(), "PING"), "+PONG");
    assert_eq!(home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(redis.url(), format!("redis+unix://{}", redis.socket_path().display()));
    assert_eq!(redis.port(), None);
    let held = connection(redis.socket_path());
    drop(redis);
    wait_for_the_end(held);
    assert!(!home.exists());
}

#[test]
fn a_server_started_by_a_thread_outlives_the_thread() {
    let redis = std::thread::spawn(|| EmbeddedRedis::start().unwrap()).join().unwrap();
    assert_eq!(say(redis.socket_path(), "PING"), "+PONG");
}

#[test]
fn what_is_written_survives_kill_and_restart() {
    let mut redis = EmbeddedOptions::new().appendonly(AppendOnly::Always).start().unwrap();
    assert_eq!(say(redis.socket_path(), "SET k v"), "+OK");
    let before = redis.pid();
    redis.kill();
    assert_eq!(redis.pid(), None);
    assert!(UnixStream::connect(redis.socket_path()).is_err());
    assert!(matches!(redis.pause(), Err(EmbeddedError::NotRunning)));
    redis.restart().unwrap();
    assert_ne!(redis.pid(), before);
    assert_eq!(say(redis.socket_path(), "EXISTS k"), ":1");
}

#[test]
fn without_a_file_a_restart_begins_empty() {
    let mut redis = EmbeddedRedis::start().unwrap();
    assert_eq!(say(redis.socket_path(), "SET k v"), "+OK");
    redis.restart().unwrap();
    assert_eq!(say(redis.socket_path(), "EXISTS k"), ":0");
}

#[test]
fn a_paused_server_is_silent_until_resumed() {
    let redis = EmbeddedRedis::start().unwrap();
    redis.pause().unwrap();
    let mut stream = UnixStream::connect(redis.socket_path()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    assert!(stream.read(&mut reply).is_err());
    redis.resume().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn a_password_is_demanded_and_stands_only_where_asked() {
    let redis = EmbeddedOptions::new().requirepass("p@ss \"word").start().unwrap();
    assert!(say(redis.socket_path(), "PING").starts_with("-NOAUTH"));
    assert!(!redis.url().contains("p@ss"));
    assert!(redis.url_with_password().ends_with("?pass=p%40ss%20%22word"));
}

#[test]
fn it_listens_on_tcp_if_asked() {
    let mut redis = EmbeddedOptions::new().tcp(true).maxmemory(32 << 20).start().unwrap();
    let port = redis.port().unwrap();
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{port}"));
    for _ in 0..2 {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"PING\r\n").unwrap();
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
        redis.restart().unwrap();
    }
}

#[test]
fn a_kept_directory_serves_one_server_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let options = EmbeddedOptions::new().appendonly(AppendOnly::EverySecond).dir(&data);
    let redis = options.clone().start().unwrap();
    assert!(matches!(options.clone().start(), Err(EmbeddedError::DirectoryInUse { .. })));
    assert_eq!(say(redis.socket_path(), "SET k v"), "+OK");
    drop(redis);
    let redis = options.start().unwrap();
    assert_eq!(say(redis.socket_path(), "EXISTS k"), ":1");
}

#[test]
fn a_bad_option_is_reported_in_one_line() {
    let error = EmbeddedOptions::new().extra("no-such-option", "1").start().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, EmbeddedError::Exited { .. }) && !text.contains('\n'), "{text}");
}
