//! A proxy in front of Redis, which can delay, swallow and cut: faults of a network, without one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How soon a thread notices that something has changed.
const LOOK: Duration = Duration::from_millis(20);

/// Listens on TCP and forwards to a Redis. Dropping it cuts everything.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    ended: AtomicBool,
    /// New connections are silent from their first byte on.
    silent: AtomicBool,
    delay_ms: AtomicU64,
    lines: Mutex<Vec<Arc<Line>>>,
}

/// One connection through the proxy.
#[derive(Debug)]
struct Line {
    near: Stream,
    far: Stream,
    /// What comes is swallowed, for ever: neither end learns of it.
    dead: AtomicBool,
}

impl FaultProxy {
    /// In front of the Redis at this URL (`redis://host:port` or `redis+unix:///path`).
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("its own address");
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            ended: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            lines: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        let accept = move || {
            for near in listener.incoming().map_while(Result::ok) {
                if theirs.ended.load(SeqCst) {
                    return;
                }
                // Nobody listens upstream: the near end is closed, as Redis itself would refuse.
                let _ = theirs.open(near);
            }
        };
        Self { shared, address, acceptor: Some(thread::spawn(accept)) }
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Each piece of an answer comes so much later.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay_ms.store(delay.as_millis() as u64, SeqCst);
    }

    /// From now on all bytes vanish, in both directions; nothing is closed.
    pub fn black_hole(&self) {
        self.shared.silent.store(true, SeqCst);
        self.shared.lines().iter().for_each(|line| line.dead.store(true, SeqCst));
    }

    /// New connections work again. Those that were there in the black hole stay silent for ever, as when a
    /// firewall has forgotten them.
    pub fn heal(&self) {
        self.shared.silent.store(false, SeqCst);
    }

    /// Connections that are open and not silent.
    pub fn living(&self) -> usize {
        self.shared.lines().iter().filter(|line| !line.dead.load(SeqCst)).count()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.lines().drain(..).for_each(|line| line.cut());
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Vec<Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(self: &Arc<Self>, near: TcpStream) -> io::Result<()> {
        near.set_nodelay(true)?;
        let (near, far) = (Stream::Tcp(near), Stream::to(&self.upstream)?);
        let line = Arc::new(Line { near, far, dead: AtomicBool::new(self.silent.load(SeqCst)) });
        self.lines().push(Arc::clone(&line));
        let (shared, up) = (Arc::clone(self), Arc::clone(&line));
        // Both end with their line.
        thread::spawn(move || shared.pump(&up, &up.near, &up.far, false));
        let shared = Arc::clone(self);
        thread::spawn(move || shared.pump(&line, &line.far, &line.near, true));
        Ok(())
    }

    fn pump(&self, line: &Arc<Line>, from: &Stream, to: &Stream, answers: bool) {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.ended.load(SeqCst) {
                        break;
                    }
                    continue;
                }
                Err(_) => break,
            };
            if answers {
                thread::sleep(Duration::from_millis(self.delay_ms.load(SeqCst)));
            }
            if !line.dead.load(SeqCst) && to.write(&buffer[..read]).is_err() {
                break;
            }
        }
        // The other end of a silent line does not learn that this one has hung up.
        if !line.dead.load(SeqCst) {
            line.cut();
            self.lines().retain(|other| !Arc::ptr_eq(other, line));
        }
    }
}

impl Line {
    fn cut(&self) {
        self.near.shut();
        self.far.shut();
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn to(url: &str) -> io::Result<Self> {
        let stream = match url.strip_prefix("redis+unix://") {
            Some(path) => Self::Unix(UnixStream::connect(path)?),
            None => {
                let stream = TcpStream::connect(url.trim_start_matches("redis://"))?;
                stream.set_nodelay(true)?;
                Self::Tcp(stream)
            }
        };
        Ok(stream)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(LOOK)).and_then(|()| (&*stream).read(buffer)),
            Self::Unix(stream) => stream.set_read_timeout(Some(LOOK)).and_then(|()| (&*stream).read(buffer)),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => (&*stream).write_all(bytes),
            Self::Unix(stream) => (&*stream).write_all(bytes),
        }
    }

    fn shut(&self) {
        // It may be closed already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}
