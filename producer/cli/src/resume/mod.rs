//! How an interrupted `map` goes on.
//!
//! Beside its output stands a file as long as the map is not complete ([`Sidecar`]); after a `--resume` it stays, and says
//! that the map is complete: of an output without it nothing is known. Whoever goes on sees which rows have their line ([`written`]), stops what is left of the earlier batches and sees which tasks of theirs have ended
//! ([`earlier`]), and runs the other rows in a new batch. A result is deleted in Redis only when its line is in the file.

mod earlier;
mod identity;
mod output;
mod sidecar;
mod written;

pub use self::earlier::{Answered, EndedRows, stop};
pub use self::identity::{Identity, Opened};
pub use self::output::{Beginning, Keeper, Output, Wish};
pub use self::sidecar::{Part, Sidecar};
pub use self::written::{Lines, Written};
