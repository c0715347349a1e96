//! The constants as a table for people, from the same lines that define them.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::size;

/// One default or limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The name of the constant.
    pub name: &'static str,
    /// Its value, with its unit.
    pub value: String,
    /// What it is for.
    pub meaning: String,
}

/// Defines constants, and `all()`, which lists them.
macro_rules! table {
    ($($(#[doc = $doc:literal])+ pub const $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[doc = $doc])+ pub const $name: $type = $value;)*

        /// All of them, in order.
        pub fn all() -> Vec<Setting> {
            vec![$(Setting {
                name: stringify!($name),
                value: table::Shown::shown(&$name, stringify!($name)),
                meaning: concat!($($doc),+).trim().to_owned(),
            }),*]
        }
    };
}
pub(super) use table;

/// A value for people; the name tells the unit of a bare number.
pub(super) trait Shown {
    fn shown(&self, name: &str) -> String;
}

impl Shown for Duration {
    fn shown(&self, _name: &str) -> String {
        const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
        let seconds = self.as_secs();
        let whole = UNITS.iter().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
        match whole {
            // A day is said in hours, as people do.
            Some(("d", unit)) if seconds == *unit => "24h".to_owned(),
            Some((name, unit)) if self.subsec_nanos() == 0 => format!("{}{name}", seconds / unit),
            _ => format!("{}ms", self.as_millis()),
        }
    }
}

impl Shown for RangeInclusive<Duration> {
    fn shown(&self, name: &str) -> String {
        format!("{} to {}", self.start().shown(name), self.end().shown(name))
    }
}

impl Shown for &str {
    fn shown(&self, _name: &str) -> String {
        (*self).to_owned()
    }
}

impl Shown for u64 {
    fn shown(&self, name: &str) -> String {
        match name {
            _ if name.contains("BYTES") => size::text(*self),
            _ if name.contains("PERCENT") => format!("{self} %"),
            _ => self.to_string(),
        }
    }
}

macro_rules! smaller {
    ($($type:ty),*) => {$(
        impl Shown for $type {
            fn shown(&self, name: &str) -> String {
                (*self as u64).shown(name)
            }
        }
    )*};
}

smaller!(u8, u16, u32, usize);

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;

    #[test]
    fn every_constant_is_in_the_table_with_its_unit() {
        let value = |name: &str| all().into_iter().find(|setting| setting.name == name).unwrap().value;
        assert_eq!(value("LEASE"), "10s");
        assert_eq!(value("MESSAGE_LIFE"), "7d");
        assert_eq!(value("RESULT_TTL"), "24h");
        assert_eq!(value("LEASE_RANGE"), "1s to 10m");
        assert_eq!(value("MESSAGE_BYTES_MAX"), "128KiB");
        assert_eq!(value("MEMORY_REFUSE_PERCENT"), "80 %");
        assert_eq!(value("CRASHES_MAX"), "3");
        assert_eq!(Duration::from_millis(1500).shown(""), "1500ms");
        let source = include_str!("../defaults.rs");
        assert_eq!(source.matches("pub const ").count(), all().len());
        assert!(all().iter().all(|setting| !setting.meaning.is_empty()));
    }
}
