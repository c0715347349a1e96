//! Redis in trouble: whatever happens to it, within 5 s of its coming back a worker works again, and so does
//! each client; every result arrives once.

mod away;
mod drain;
mod passwords;
mod refusing;
mod scene;
mod sentinels;
mod silent;
