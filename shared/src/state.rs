//! What a worker has loaded for its kernels: one value of each type.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::sync::Arc;

use crate::kernel_error::KernelError;

/// Values by their types. A clone shares them.
#[derive(Clone, Default)]
pub struct States(Vec<Entry>);

#[derive(Clone)]
struct Entry {
    id: TypeId,
    name: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

/// There is a value of that type already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "two values of the type {0} are kept: a kernel could not tell them apart; wrap one of them in a type of its own"
)]
pub struct SameType(pub &'static str);

impl States {
    /// Adds a value. `()` says nothing, and is not kept.
    pub fn add<T: Send + Sync + 'static>(&mut self, value: T) -> Result<(), SameType> {
        let id = TypeId::of::<T>();
        if id == TypeId::of::<()>() {
            return Ok(());
        }
        if self.find(id).is_some() {
            return Err(SameType(type_name::<T>()));
        }
        self.0.push(Entry { id, name: type_name::<T>(), value: Arc::new(value) });
        Ok(())
    }

    /// Adds a value, in place of one of the same type.
    pub fn replace<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.retain(|entry| entry.id != TypeId::of::<T>());
        // It cannot be there any more.
        let _ = self.add(value);
    }

    /// The value of that type; the error says what is missing where.
    pub fn get<T: Send + Sync + 'static>(&self) -> Result<&T, KernelError> {
        let found = self.find(TypeId::of::<T>()).and_then(|entry| entry.value.downcast_ref());
        found.ok_or_else(|| self.missing(type_name::<T>()))
    }

    fn find(&self, id: TypeId) -> Option<&Entry> {
        // A worker has a handful at most.
        self.0.iter().find(|entry| entry.id == id)
    }

    fn missing(&self, wanted: &str) -> KernelError {
        let names: Vec<_> = self.0.iter().map(|entry| entry.name).collect();
        let has = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        KernelError::fatal(format!(
            "this worker keeps no {wanted}, it keeps {has}: return one from Worker::preload (shared by all consumers) \
             or Worker::init (one per consumer)"
        ))
        .kind("missing_state")
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| entry.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_types() {
        let mut states = States::default();
        states.add(7u32).unwrap();
        states.add(String::from("model")).unwrap();
        let shared = states.clone();
        assert_eq!((shared.get::<u32>(), shared.get::<String>().map(String::as_str)), (Ok(&7), Ok("model")));
        assert!(std::ptr::eq(states.get::<String>().unwrap(), shared.get::<String>().unwrap()));
    }

    #[test]
    fn one_type_has_one_value() {
        let mut states = States::default();
        states.add(7u32).unwrap();
        assert_eq!(states.add(8u32), Err(SameType("u32")));
        states.add(()).unwrap();
        states.add(()).unwrap();
        assert!(states.get::<()>().is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut states = States::default();
        states.add(7u32).unwrap();
        let error = states.get::<String>().unwrap_err();
        assert!(error.message().contains("no alloc::string::String, it keeps u32: return one"), "{error}");
    }
}
