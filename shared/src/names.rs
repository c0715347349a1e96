//! Names that become part of a key: validated once, where they enter.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// A name that breaks the rule for its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a valid {kind}: use 1 to {max} characters of {alphabet}")]
pub struct NameError {
    kind: &'static str,
    max: usize,
    alphabet: &'static str,
    name: String,
}

const KEY_ALPHABET: &str = "a-z, 0-9, '_', '.' and '-'";
const KERNEL_ALPHABET: &str = "A-Z, a-z, 0-9, '_', '.', ':' and '-'";

fn key_character(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'.' | b'-')
}

fn kernel_character(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b':' | b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $max:expr, $alphabet:expr, $allowed:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// Checks a name; the error says what is allowed.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                if name.is_empty() || name.len() > $max || !name.bytes().all($allowed) {
                    let name = name.chars().take(80).collect();
                    return Err(NameError { kind: $kind, max: $max, alphabet: $alphabet, name });
                }
                Ok(Self(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a queue, `[a-z0-9_.-]{1,64}`.
    QueueName, "queue name", 64, KEY_ALPHABET, key_character
);
name!(
    /// The namespace of a deployment, `[a-z0-9_.-]{1,32}`: the hash tag of all its keys.
    Namespace, "namespace", 32, KEY_ALPHABET, key_character
);
name!(
    /// The name of a kernel, `[A-Za-z0-9_.:-]{1,128}`.
    KernelName, "kernel name", 128, KERNEL_ALPHABET, kernel_character
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rule() {
        assert!(QueueName::new("default").is_ok());
        assert!(QueueName::new("a".repeat(64)).is_ok());
        for bad in ["", "UPPER", "a b", "a:b", "{x}", &"a".repeat(65)] {
            assert!(QueueName::new(bad).is_err(), "{bad:?}");
        }
        assert!(KernelName::new("image.thumbnail").is_ok());
        assert!(KernelName::new("no spaces").is_err());
    }

    #[test]
    fn the_error_says_what_is_allowed() {
        let error = Namespace::new("GM").unwrap_err().to_string();
        assert_eq!(error, r#""GM" is not a valid namespace: use 1 to 32 characters of a-z, 0-9, '_', '.' and '-'"#);
    }
}
