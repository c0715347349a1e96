//! The worker of Gristmill: supervisor, agent and forked consumers.

pub mod agent;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod control;
mod note;
pub mod roles;
pub mod slot;
