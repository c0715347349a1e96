//! `gristmill doctor --defaults`.

use std::time::Duration;

use gristmill::shared::{defaults, duration::parse};

use crate::exit::Exit;
use crate::table::{Table, object};

/// Prints the table of defaults and limits, as `shared/src/defaults.rs` has it.
pub fn print(json: bool) -> Result<(), Exit> {
    let mut table = Table::new(&[("DEFAULT", "name"), ("VALUE", "value"), ("MEANS", "meaning")]);
    for entry in defaults::all() {
        let as_duration = duration(&entry.value);
        let mut row = object([
            ("name", entry.name.to_ascii_lowercase().into()),
            ("value", entry.value.into()),
            ("meaning", entry.meaning.into()),
        ]);
        if let Some(duration) = as_duration {
            row.insert("value_ms".into(), (duration.as_millis() as u64).into());
        }
        table.row(row);
    }
    table.print(json, "")
}

/// A bare number is no duration here.
fn duration(value: &str) -> Option<Duration> {
    parse(value).filter(|_| value.ends_with(|c: char| c.is_ascii_alphabetic()))
}
