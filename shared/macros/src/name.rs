//! The rule for names of kernels, as in `gristmill_shared::names::KernelName`.
//!
//! It stands here a second time because the contract depends on this crate; a test there compares them.

const LENGTH_MAX: usize = 128;

/// What is wrong with `name`, if anything is.
pub fn check(name: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b':' | b'-');
    if !name.is_empty() && name.len() <= LENGTH_MAX && name.bytes().all(allowed) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(format!(
        "{shown:?} is not a valid kernel name: use 1 to {LENGTH_MAX} characters of A-Z, a-z, 0-9, '_', '.', ':' and '-'"
    ))
}
