//! Every script against a real server: each reply, each refusal with nothing written, each counter.
//!
//! Every test has a server of its own, so that it can look at all keys and change the configuration.
//! Scripts read the time of Redis: tests shift it by writing old values into the keys.

mod fixture;
mod scenes;
mod state;

mod blobs;
mod budget;
mod cancel;
mod claim;
mod discard;
mod enqueue;
mod forget;
mod fsck;
mod fsck_lock;
mod judge;
mod large;
mod lease;
mod manage;
mod once;
mod promote;
mod promote_many;
mod purge;
mod reclaim;
mod release;
mod revive;
mod rules;
mod settle;
mod shared;
mod sweep;
mod tick;
mod touch;
mod walk;
mod weed;
