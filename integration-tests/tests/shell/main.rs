//! What a shell sees: input that is wrong, a Redis that refuses, exit codes, signals, JSON, logs.
//!
//! Each test has a private Redis and runs the real binaries; nothing reaches into them.

mod arguments;
mod bad_input;
mod bare_worker;
mod bounded;
mod dead_letters;
mod demo;
mod detach;
mod dev;
mod doctor;
mod exec;
mod exec_resume;
mod fake_server;
mod foreign_messages;
mod foreign_server;
mod forms;
mod fsck;
mod hops;
mod kernel_names;
mod listings;
mod other_languages;
mod passwords;
mod progress;
mod queue_commands;
mod refusals;
mod resume;
mod rig;
mod set_up;
mod several_ids;
mod signals;
mod stdout;
mod submitting;
mod tables;
mod timeouts;
mod unreachable;
mod usage;
