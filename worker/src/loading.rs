//! What a worker loads for its kernels: before the fork for all consumers, after it in each of them.

use std::any::{TypeId, type_name};
use std::fmt::{self, Display};
use std::sync::Arc;

use gristmill_shared::state::States;

/// A value that [`preload`](crate::Worker::preload) or [`init`](crate::Worker::init) keeps for kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep<T>(pub T);

/// What a preload or init function may return: nothing, a value to keep, or a `Result` of one whose error is shown to
/// people.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what `preload` and `init` take",
    note = "return nothing, a `Result<T, E>` to keep the `T`, or `Keep(value)` where nothing can go wrong"
)]
pub trait Loaded {
    /// The type of what is kept, and its name; none: nothing is.
    fn kept() -> Option<(TypeId, &'static str)>;
    /// Adds the value; the error as text.
    fn keep(self, states: &mut States) -> Result<(), String>;
}

impl Loaded for () {
    fn kept() -> Option<(TypeId, &'static str)> {
        None
    }

    fn keep(self, _: &mut States) -> Result<(), String> {
        Ok(())
    }
}

impl<T: Send + Sync + 'static> Loaded for Keep<T> {
    fn kept() -> Option<(TypeId, &'static str)> {
        kept::<T>()
    }

    fn keep(self, states: &mut States) -> Result<(), String> {
        states.add(self.0).map_err(|error| error.to_string())
    }
}

impl<T: Send + Sync + 'static, E: Display> Loaded for Result<T, E> {
    fn kept() -> Option<(TypeId, &'static str)> {
        kept::<T>()
    }

    fn keep(self, states: &mut States) -> Result<(), String> {
        self.map_err(|error| error.to_string()).and_then(|value| Keep(value).keep(states))
    }
}

fn kept<T: 'static>() -> Option<(TypeId, &'static str)> {
    let id = TypeId::of::<T>();
    (id != TypeId::of::<()>()).then(|| (id, type_name::<T>()))
}

type Preload = Box<dyn FnOnce(&mut States) -> Result<(), String>>;
type Init = dyn Fn(&mut States) -> Result<(), String> + Send + Sync;

/// What is to be run in each consumer, before its first claim.
#[derive(Clone, Default)]
pub struct Inits(Vec<Arc<Init>>);

impl Inits {
    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs all of them, in the order in which they were given.
    pub fn run(&self, states: &mut States) -> Result<(), String> {
        self.0.iter().try_for_each(|init| init(states))
    }
}

impl fmt::Debug for Inits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} functions", self.0.len())
    }
}

/// All that a worker program wants loaded.
#[derive(Default)]
pub(crate) struct Loading {
    preloads: Vec<Preload>,
    pub(crate) inits: Inits,
    kept: Vec<(TypeId, &'static str)>,
}

impl Loading {
    pub(crate) fn preload<R: Loaded>(&mut self, load: impl FnOnce() -> R + 'static) {
        self.kept.extend(R::kept());
        self.preloads.push(Box::new(|states| load().keep(states)));
    }

    pub(crate) fn init<R: Loaded>(&mut self, load: impl Fn() -> R + Send + Sync + 'static) {
        self.kept.extend(R::kept());
        self.inits.0.push(Arc::new(move |states| load().keep(states)));
    }

    /// The name of a type that two of them keep: a kernel could not tell the values apart.
    pub(crate) fn twice(&self) -> Option<&'static str> {
        let again = |i: usize, id: TypeId| self.kept[..i].iter().any(|(other, _)| *other == id);
        self.kept.iter().enumerate().find(|(i, (id, _))| again(*i, *id)).map(|(_, (_, name))| *name)
    }

    /// Runs what is to be run before the first fork.
    pub(crate) fn preloads(self, states: &mut States) -> Result<(), String> {
        self.preloads.into_iter().try_for_each(|load| load(states))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_returned_is_kept() {
        let mut loading = Loading::default();
        loading.preload(|| Keep(7u32));
        loading.preload(|| Ok::<_, String>(String::from("model")));
        loading.preload(|| {});
        loading.preload(|| Ok::<(), String>(()));
        loading.init(|| Keep(8u8));
        let inits = loading.inits.clone();
        let mut states = States::default();
        assert_eq!(loading.twice(), None);
        loading.preloads(&mut states).unwrap();
        assert_eq!((states.get::<u32>(), states.get::<String>().map(String::as_str)), (Ok(&7), Ok("model")));
        assert!(states.get::<u8>().is_err(), "that is made in each consumer");
        inits.run(&mut states).unwrap();
        assert_eq!(states.get::<u8>(), Ok(&8));
    }

    #[test]
    fn the_first_error_ends_it() {
        let mut loading = Loading::default();
        loading.preload(|| Err::<u8, _>("no model"));
        loading.preload(|| -> () { panic!("it is not run") });
        assert_eq!(loading.preloads(&mut States::default()), Err("no model".to_owned()));
    }

    #[test]
    fn one_type_is_kept_once() {
        let mut loading = Loading::default();
        loading.preload(|| Ok::<_, String>(7u32));
        loading.init(|| Keep(8u32));
        assert_eq!(loading.twice(), Some("u32"));
    }
}
