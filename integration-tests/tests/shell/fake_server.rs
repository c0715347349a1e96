//! A server that speaks just enough of the protocol to say how old it is.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

pub struct FakeServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl FakeServer {
    pub fn start(version: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("its own address");
        let ended = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&ended);
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if theirs.load(Ordering::Relaxed) {
                    return;
                }
                // Ends with its client.
                thread::spawn(move || serve(stream, version));
            }
        };
        Self { address, ended, listener: Some(thread::spawn(accept)) }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(stream: TcpStream, version: &str) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    loop {
        let command = read_command(&mut input)?;
        let answer = match command.first()?.to_ascii_uppercase().as_str() {
            "PING" => "+PONG\r\n".to_owned(),
            "CLIENT" | "SELECT" => "+OK\r\n".to_owned(),
            "INFO" => {
                let info =
                    format!("# Server\r\nredis_version:{version}\r\n# Memory\r\nused_memory:1\r\nmaxmemory:0\r\n");
                format!("${}\r\n{info}\r\n", info.len())
            }
            "TIME" => "*2\r\n$1\r\n1\r\n$1\r\n1\r\n".to_owned(),
            other => format!("-ERR unknown command '{other}'\r\n"),
        };
        out.write_all(answer.as_bytes()).ok()?;
    }
}

/// An array of bulk strings, as every client sends.
fn read_command(input: &mut impl BufRead) -> Option<Vec<String>> {
    let parts = read_length(input, '*')?;
    (0..parts).map(|_| read_bulk(input)).collect()
}

fn read_bulk(input: &mut impl BufRead) -> Option<String> {
    let mut bytes = vec![0; read_length(input, '$')? + 2];
    input.read_exact(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned())
}

fn read_length(input: &mut impl BufRead, mark: char) -> Option<usize> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(mark)?.parse().ok()
}
