//! The file beside an output that says how its map can go on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gristmill::BatchId;
use gristmill::shared::intervals::Intervals;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::identity::Identity;

/// The version of its form.
const VERSION: u32 = 1;
const SUFFIX: &str = ".gristmill";

/// What an interrupted map leaves, and a complete one that may be asked for again. Written before anything of a batch is
/// enqueued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    version: u32,
    pub kernel: String,
    /// What decides how rows and lines look.
    pub form: Vec<String>,
    pub input: Identity,
    /// The batches whose results may be wanted, in the order of their submission.
    pub batches: Vec<Part>,
    /// The bytes of the output, if the map is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<u64>,
}

/// One batch of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    #[serde(serialize_with = "write_batch", deserialize_with = "read_batch")]
    pub batch: BatchId,
    /// The rows of the input that are not its business. Its tasks are the other good rows, in their order.
    #[serde(serialize_with = "write_rows", deserialize_with = "read_rows")]
    pub left_out: Intervals,
}

impl Sidecar {
    pub fn new(kernel: &str, form: Vec<String>, input: Identity) -> Self {
        Self { version: VERSION, kernel: kernel.to_owned(), form, input, batches: Vec::new(), complete: None }
    }

    /// Where it stands.
    pub fn path(output: &Path) -> PathBuf {
        let mut name = output.as_os_str().to_owned();
        name.push(SUFFIX);
        name.into()
    }

    /// Reads it; none if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let sidecar: Self = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if sidecar.version != VERSION {
            return Err(format!("its version is {}, and this program knows {VERSION}", sidecar.version));
        }
        Ok(Some(sidecar))
    }

    /// Writes it: whoever reads it finds the old one or the new one, whole.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let text = serde_json::to_vec(self)?;
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        // A half of it is of no use.
        write().inspect_err(|_| drop(fs::remove_file(&temporary)))
    }
}

fn write_batch<S: Serializer>(batch: &BatchId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(batch)
}

fn read_batch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BatchId, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn write_rows<S: Serializer>(rows: &Intervals, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.ranges().map(|range| (range.start, range.end)))
}

fn read_rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Intervals, D::Error> {
    let ranges = Vec::<(u64, u64)>::deserialize(deserializer)?;
    Ok(ranges.into_iter().map(|(start, end)| start..end).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = Sidecar::path(&dir.path().join("out.jsonl"));
        assert!(path.ends_with("out.jsonl.gristmill"));
        assert_eq!(Sidecar::read(&path), Ok(None));
        let mut sidecar = Sidecar::new("square", vec!["--records".into()], Identity::of_text("grid"));
        sidecar.batches.push(Part { batch: BatchId::new(), left_out: [0..7, 9..u64::MAX].into_iter().collect() });
        sidecar.write(&path).unwrap();
        sidecar.batches.push(Part { batch: BatchId::new(), left_out: Intervals::default() });
        sidecar.complete = Some(7);
        sidecar.write(&path).unwrap();
        assert_eq!(Sidecar::read(&path), Ok(Some(sidecar)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[test]
    fn rubbish_and_other_versions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.gristmill");
        for text in ["", "{", "[]", "{\"version\":1}"] {
            fs::write(&path, text).unwrap();
            assert!(Sidecar::read(&path).is_err(), "{text}");
        }
        let mut later = Sidecar::new("square", Vec::new(), Identity::of_text(""));
        later.version = 2;
        later.write(&path).unwrap();
        assert!(Sidecar::read(&path).unwrap_err().contains("version is 2"));
    }
}
