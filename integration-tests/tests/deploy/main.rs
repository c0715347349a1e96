//! What `deploy/` installs: it starts, and it says what the programs understand.

mod persistence;
mod redis_conf;
mod unit;
