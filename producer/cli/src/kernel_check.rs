//! Catches a misspelt kernel before its task waits for ever.

use gristmill::Client;
use gristmill::shared::KernelName;

use crate::arguments::ArgumentCheck;
use crate::exit::Exit;
use crate::say;

/// What is looked at before anything is submitted.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// Whether a worker offers the kernel.
    pub kernel: bool,
    /// Whether the arguments are what it takes.
    pub arguments: bool,
}

/// How alike two names must be for one to be suggested, 0 to 1.
const ALIKE: f64 = 0.75;
const SUGGESTIONS: usize = 3;

/// Refuses a kernel that no worker offers, unless none has ever offered any, or `force` is set. Tells what the
/// kernel takes.
pub async fn check(client: &Client, kernel: &KernelName, checks: Checks) -> Result<ArgumentCheck, Exit> {
    let records = client.kernels().await?;
    let unchecked = ArgumentCheck::unchecked(kernel);
    if let Some(record) = records.iter().find(|record| record.name == *kernel) {
        return Ok(ArgumentCheck::of(record, checks.arguments));
    }
    let known: Vec<String> = records.iter().map(|record| record.name.to_string()).collect();
    if known.is_empty() {
        say!("gristmill: warning: no worker has offered a kernel yet; {kernel} waits until one does");
        return Ok(unchecked);
    }
    if !checks.kernel {
        say!("gristmill: warning: no worker offers the kernel {kernel}; its tasks wait until one does");
        return Ok(unchecked);
    }
    let hint = hint(kernel.as_str(), &known);
    Err(Exit::new(Exit::UNKNOWN, format!("no worker offers the kernel {kernel:?}; {hint} (--force submits it anyway)")))
}

/// Names that may have been meant.
pub fn hint(wanted: &str, known: &[String]) -> String {
    let mut near: Vec<(f64, &str)> = known.iter().map(|name| (likeness(wanted, name), name.as_str())).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names: Vec<&str> = near.iter().filter(|(like, _)| *like >= ALIKE).map(|(_, name)| *name).collect();
    if names.is_empty() {
        return "see `gristmill kernels`".to_owned();
    }
    format!("did you mean {}?", names.into_iter().take(SUGGESTIONS).collect::<Vec<_>>().join(" or "))
}

fn likeness(wanted: &str, name: &str) -> f64 {
    let (wanted, name) = (wanted.to_ascii_lowercase(), name.to_ascii_lowercase());
    // "thumbnail" should find "image.thumbnail".
    if name.contains(&wanted) && wanted.len() >= 3 {
        return 1.0;
    }
    strsim::jaro_winkler(&wanted, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested() {
        let known = ["square".to_owned(), "sum_sqrt".to_owned(), "image.thumbnail".to_owned()];
        assert_eq!(hint("sqare", &known), "did you mean square?");
        assert_eq!(hint("thumbnail", &known), "did you mean image.thumbnail?");
        assert_eq!(hint("xyz", &known), "see `gristmill kernels`");
    }
}
