//! `gristmill doctor --defaults`.

use gristmill::shared::defaults;

use crate::exit::Exit;
use crate::table::{Table, object};

/// Prints the table of defaults and limits, as `shared/src/defaults.rs` has it.
pub fn print(json: bool) -> Result<(), Exit> {
    let mut table = Table::new(&[("DEFAULT", "name"), ("VALUE", "value"), ("MEANS", "meaning")]);
    for entry in defaults::all() {
        table.row(object([
            ("name", entry.name.to_ascii_lowercase().into()),
            ("value", entry.value.into()),
            ("meaning", entry.meaning.into()),
        ]));
    }
    table.print(json, "")
}
