//! Words for people, on stderr. A closed stderr is no reason to fail, as it would be for `eprintln!`.

/// Prints one line on stderr.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}
