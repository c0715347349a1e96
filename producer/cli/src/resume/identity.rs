//! Tells whether an input is the one that a map began with.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// Bytes of the beginning that are compared.
const HEAD: usize = 64 * 1024;

type Readable = Box<dyn Read + Send>;

/// A file or stdin.
pub struct Opened {
    pub input: Readable,
    /// Of a file.
    pub metadata: Option<Metadata>,
}

impl From<File> for Opened {
    fn from(file: File) -> Self {
        let metadata = file.metadata().ok();
        Self { input: Box::new(file), metadata }
    }
}

/// An input, as far as it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Bytes of the beginning, and their hash.
    bytes: u64,
    hash: String,
    /// Of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileIdentity>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileIdentity {
    bytes: u64,
    /// Nanoseconds since 1970.
    modified_ns: u64,
}

impl Identity {
    /// Of what needs no file.
    pub fn of_text(text: &str) -> Self {
        Self { bytes: text.len() as u64, hash: hash(text.as_bytes()), file: None }
    }

    /// Of an input whose beginning is read for that, and handed back. A file counts as a whole; of what comes through a
    /// pipe, `known` says how much of the beginning was looked at before; else it is what is there at once.
    pub fn read(input: Opened, known: Option<&Self>) -> io::Result<(Self, Headed)> {
        let Opened { input, metadata } = input;
        let of_file = metadata.filter(Metadata::is_file).map(|metadata| {
            let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            FileIdentity { bytes: metadata.len(), modified_ns: modified.map_or(0, |at| at.as_nanos() as u64) }
        });
        let wanted = match known {
            Some(known) if of_file.is_none() => known.bytes.min(HEAD as u64) as usize,
            _ => HEAD,
        };
        let patient = of_file.is_some() || known.is_some();
        let (head, rest) = read_head(input, wanted, patient)?;
        let identity = Self { bytes: head.len() as u64, hash: hash(&head), file: of_file };
        Ok((identity, Headed { head, given: 0, rest }))
    }

    /// Why this is not the input that it should be.
    pub fn differs_from(&self, begun: &Self) -> Option<&'static str> {
        match (&self.file, &begun.file) {
            (Some(_), None) | (None, Some(_)) => Some("it was read in another way"),
            (Some(now), Some(then)) if now.bytes != then.bytes => Some("it has another length"),
            _ if (self.bytes, &self.hash) != (begun.bytes, &begun.hash) => Some("it begins with something else"),
            (Some(now), Some(then)) if now.modified_ns != then.modified_ns => Some("it was changed since"),
            _ => None,
        }
    }
}

/// Reads up to so many bytes: all of them if `patient`, else what is there at once.
fn read_head(mut input: Readable, wanted: usize, patient: bool) -> io::Result<(Vec<u8>, Readable)> {
    let (mut head, mut length) = (vec![0; wanted], 0);
    while length < wanted {
        match input.read(&mut head[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if !patient {
            break;
        }
    }
    head.truncate(length);
    Ok((head, input))
}

/// An input whose beginning was read already.
pub struct Headed {
    head: Vec<u8>,
    given: usize,
    rest: Readable,
}

impl Read for Headed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.head.len() {
            return self.rest.read(buffer);
        }
        let count = buffer.len().min(self.head.len() - self.given);
        buffer[..count].copy_from_slice(&self.head[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

/// FNV-1a, 64 bits: nobody forges his own input.
fn hash(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_hash_is_the_usual_one() {
        assert_eq!((hash(b""), hash(b"a")), ("cbf29ce484222325".to_owned(), "af63dc4c8601ec8c".to_owned()));
    }

    #[test]
    fn a_file_is_itself_until_it_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        let read = || Identity::read(File::open(&path).unwrap().into(), None).unwrap();
        let text = "x".repeat(HEAD) + "\n1\n";
        fs::write(&path, &text).unwrap();
        let (begun, mut headed) = read();
        let mut all = String::new();
        headed.read_to_string(&mut all).unwrap();
        assert_eq!(all, text);
        assert_eq!(read().0.differs_from(&begun), None);
        let later = SystemTime::now() + Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(read().0.differs_from(&begun), Some("it was changed since"));
        fs::write(&path, "y".repeat(HEAD) + "\n1\n").unwrap();
        assert_eq!(read().0.differs_from(&begun), Some("it begins with something else"));
        fs::write(&path, "1\n").unwrap();
        assert_eq!(read().0.differs_from(&begun), Some("it has another length"));
    }

    #[test]
    fn of_a_pipe_that_much_is_compared_which_was_there_at_first() {
        let pipe = |text: &'static str| {
            let (reader, mut writer) = io::pipe().unwrap();
            std::thread::spawn(move || {
                for byte in text.bytes() {
                    io::Write::write_all(&mut writer, &[byte]).unwrap();
                }
            });
            Opened::from(File::from(std::os::fd::OwnedFd::from(reader)))
        };
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"1\n2\n").unwrap();
        // The writer goes on later: nobody waits for it.
        let (begun, _headed) =
            Identity::read(Opened::from(File::from(std::os::fd::OwnedFd::from(reader))), None).unwrap();
        assert_eq!(begun.bytes, 4);
        let (same, mut headed) = Identity::read(pipe("1\n2\n3\n"), Some(&begun)).unwrap();
        assert_eq!(same.differs_from(&begun), None);
        let mut all = String::new();
        headed.read_to_string(&mut all).unwrap();
        assert_eq!(all, "1\n2\n3\n");
        let (other, _) = Identity::read(pipe("1\n3\n"), Some(&begun)).unwrap();
        assert_eq!(other.differs_from(&begun), Some("it begins with something else"));
        let (short, _) = Identity::read(pipe("1\n"), Some(&begun)).unwrap();
        assert!(short.differs_from(&begun).is_some() && Identity::of_text("1\n2\n").differs_from(&begun).is_none());
    }
}
