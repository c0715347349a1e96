//! Options that do not exist or make no sense.

use gristmill_shared::kernel;

#[kernel(retry = 2)]
fn unknown() {}

#[kernel(retries)]
fn no_value() {}

#[kernel(retries = 70_000)]
fn too_many() {}

#[kernel(retries = -1)]
fn negative() {}

#[kernel(retries = "2")]
fn quoted() {}

#[kernel(time_limit = 30)]
fn no_unit() {}

#[kernel(time_limit = "30 seconds", backoff = "1.5s")]
fn bad_units() {}

#[kernel(time_limit = "0s")]
fn no_time() {}

#[kernel(backoff = "9999h")]
fn too_long() {}

#[kernel(backoff = "2m", backoff_max = "1m")]
fn upside_down() {}

#[kernel(soft_time_limit = "30s", time_limit = "30s")]
fn soft_is_not_shorter() {}

#[kernel(memory = "512MB")]
fn bad_memory() {}

#[kernel(memory = "0MiB")]
fn no_memory() {}

#[kernel(ignore_result = "yes")]
fn no_flag() {}

#[kernel(retries = 65_535)]
fn one_too_many() {}

#[kernel(retries = 1, retries = 2)]
fn twice() {}

#[kernel(name = 5)]
fn name_is_a_number() {}

#[kernel(name = "no spaces")]
fn bad_name() {}

#[kernel(name = "")]
fn empty_name() {}

#[kernel]
fn größe() {}

fn main() {}
