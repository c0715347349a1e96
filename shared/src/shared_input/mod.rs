//! Shared input: one value that all tasks of a batch read.
//!
//! A consumer fetches its bytes once ([`SharedInput::new`]); the first task that asks for a type decodes them, and the
//! tasks after it get the same value.

pub mod packing;

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};
use crate::kernel::KernelError;

const MISFIT_CHARS_MAX: usize = 200;

/// What all shared input of a process takes together, and how a process measures what it holds.
#[derive(Debug, Clone)]
pub struct Gauge {
    bytes: Arc<AtomicU64>,
    /// What the process holds, bytes; to tell how large a value became. None: nobody knows.
    held: fn() -> Option<u64>,
}

impl Gauge {
    /// A gauge at 0; `held` tells what the process holds.
    pub fn new(held: fn() -> Option<u64>) -> Self {
        Self { bytes: Arc::default(), held }
    }

    /// What there is, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// So many bytes more will be there in a moment. What follows is as large, or is given back.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// They are not there any more.
    pub fn take(&self, bytes: u64) {
        // Nobody takes what was not added.
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new(|| None)
    }
}

/// The shared input of one batch, as one process has it.
pub struct SharedInput {
    state: Mutex<State>,
    weight: AtomicU64,
    gauge: Gauge,
}

struct State {
    source: Source,
    values: Vec<Value>,
}

/// The MessagePack, as long as somebody may need it.
enum Source {
    Bytes(Arc<Vec<u8>>),
    /// It was decoded as this type, and dropped: with it, the input would take twice its room.
    Decoded(&'static str),
    /// What was to be shared has no MessagePack form.
    Never(String),
}

struct Value {
    id: TypeId,
    value: Result<Arc<dyn Any + Send + Sync>, String>,
}

impl SharedInput {
    /// Of one MessagePack value, whose bytes `gauge` counts already.
    pub fn new(bytes: Vec<u8>, gauge: Gauge) -> Self {
        let weight = AtomicU64::new(bytes.len() as u64);
        let state = State { source: Source::Bytes(Arc::new(bytes)), values: Vec::new() };
        Self { state: Mutex::new(state), weight, gauge }
    }

    /// Of a value that is here already, for a kernel that is called as a plain function.
    pub fn of(data: &(impl Serialize + ?Sized)) -> Self {
        match codec::encode(data) {
            Ok(bytes) => {
                let gauge = Gauge::default();
                gauge.add(bytes.len() as u64);
                Self::new(bytes, gauge)
            }
            Err(error) => Self {
                state: Mutex::new(State { source: Source::Never(error.to_string()), values: Vec::new() }),
                weight: AtomicU64::new(0),
                gauge: Gauge::default(),
            },
        }
    }

    /// What it takes, bytes.
    pub fn weight(&self) -> u64 {
        self.weight.load(Relaxed)
    }

    /// The value as this type: decoded for the first that asks, the same for all that follow. Then its bytes are
    /// dropped, unless somebody took them.
    pub fn get<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, KernelError> {
        let mut state = self.lock();
        if let Some(value) = state.values.iter().find(|value| value.id == TypeId::of::<T>()) {
            let value = value.value.clone().map_err(KernelError::fatal)?;
            return value.downcast().map_err(|_| KernelError::fatal("the shared input is of another type"));
        }
        let Source::Bytes(bytes) = &state.source else { return Err(state.source.gone(type_name::<T>())) };
        let before = (self.gauge.held)();
        let decoded: Result<T, _> = codec::decode_slice(bytes);
        let decoded = decoded.map(Arc::new).map_err(|error| misfit(bytes, &error));
        if decoded.is_ok() {
            let (plain, taken) = (bytes.len() as u64, Arc::strong_count(bytes) > 1);
            if !taken {
                state.source = Source::Decoded(type_name::<T>());
            }
            self.weigh(before, if taken { plain } else { 0 });
        }
        let value = decoded.clone().map(|value| value as Arc<dyn Any + Send + Sync>);
        state.values.push(Value { id: TypeId::of::<T>(), value });
        decoded.map_err(KernelError::fatal)
    }

    /// The value's bytes, if it is binary data: those that were fetched, not a copy.
    pub fn bytes(&self) -> Result<SharedBytes, KernelError> {
        let state = self.lock();
        let Source::Bytes(bytes) = &state.source else { return Err(state.source.gone("bytes")) };
        let from = codec::bin_content(bytes)
            .map_err(|error| KernelError::fatal(format!("the shared input is no binary data: {error}")))?;
        Ok(SharedBytes { bytes: Arc::clone(bytes), from })
    }

    /// A value was decoded. What it takes is what the process has grown by since it held `before`; where nobody knows
    /// that, `guess`.
    fn weigh(&self, before: Option<u64>, guess: u64) {
        let grown = before.zip((self.gauge.held)()).map(|(before, now)| now as i64 - before as i64);
        let old = self.weight();
        let new = old.saturating_add_signed(grown.unwrap_or(guess as i64));
        self.weight.store(new, Relaxed);
        self.gauge.add(new);
        self.gauge.take(old);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A value whose decoding panics changes nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some errors quote what does not fit, which may be all of it.
fn misfit(bytes: &[u8], error: &CodecError) -> String {
    let why: String = error.to_string().chars().take(MISFIT_CHARS_MAX).collect();
    let sent = in_words(bytes);
    format!(
        "the shared input is {sent}, and the kernel takes something else: {why} (of the command line, --shared sends a \
         JSON value, --shared-bytes binary data)"
    )
}

/// What a MessagePack value is, by its first byte.
fn in_words(bytes: &[u8]) -> &'static str {
    match bytes.first() {
        Some(0xc0) => "null",
        Some(0xc2 | 0xc3) => "true or false",
        Some(0xc4..=0xc6) => "binary data",
        Some(0xa0..=0xbf | 0xd9..=0xdb) => "a text",
        Some(0x90..=0x9f | 0xdc | 0xdd) => "an array",
        Some(0x80..=0x8f | 0xde | 0xdf) => "a map",
        Some(0x00..=0x7f | 0xe0..=0xff | 0xca..=0xd3) => "a number",
        Some(_) => "a value of another kind",
        None => "empty",
    }
}

impl Source {
    fn gone(&self, wanted: &str) -> KernelError {
        let was = match self {
            Self::Decoded(name) => name,
            Self::Never(why) => return KernelError::fatal(why.clone()),
            Self::Bytes(_) => "something else",
        };
        KernelError::fatal(format!(
            "the shared input was read as {was} before, and its bytes were dropped, so it cannot be read as {wanted}: \
             read it as one type everywhere, or call shared_bytes() before"
        ))
    }
}

impl Drop for SharedInput {
    fn drop(&mut self) {
        self.gauge.take(self.weight());
    }
}

impl fmt::Debug for SharedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedInput").field("weight", &self.weight()).finish_non_exhaustive()
    }
}

/// Binary data that all tasks of a batch share: derefs to `[u8]`, and is cheap to clone.
#[derive(Clone)]
pub struct SharedBytes {
    bytes: Arc<Vec<u8>>,
    from: usize,
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests;
