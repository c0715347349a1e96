//! The documentation names files and log events that exist.

use std::path::Path;

use gristmill_shared::events;

const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");

#[test]
fn the_table_of_events_is_the_one_in_the_code() {
    let rows: String =
        events::ALL.iter().map(|(name, meaning)| format!("| `{name}` | {} |\n", meaning.trim())).collect();
    let (_, table) = ARCHITECTURE.split_once("| event | means |\n|---|---|\n").unwrap();
    assert_eq!(table, rows, "docs/architecture.md ends with this table");
}

#[test]
fn the_files_that_the_documentation_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = [
        ARCHITECTURE,
        include_str!("../../docs/protocol.md"),
        include_str!("../../docs/delivery.md"),
        include_str!("../../README.md"),
    ];
    let mut found = 0;
    for text in pages.iter().flat_map(|page| page.split('`').skip(1).step_by(2)) {
        let named = [".rs", ".lua", ".md", ".json", ".py", ".toml"].iter().any(|end| text.ends_with(end));
        if named && text.contains('/') && !text.contains(['*', '<', ' ']) {
            assert!(root.join(text).exists(), "{text} does not exist");
            found += 1;
        }
    }
    assert!(found > 30, "only {found} files found");
}

#[test]
fn the_table_of_scripts_names_the_parts_that_the_broker_uses() {
    let source = include_str!("../../broker/src/script.rs");
    let (_, list) = source.split_once("\nscripts! {\n").unwrap();
    let (list, _) = list.split_once("\n}").unwrap();
    let (_, table) = include_str!("../../docs/protocol.md").split_once("| script | parts |\n|---|---|\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    for line in list.lines() {
        let (name, parts) = line.trim().trim_end_matches(';').split_once(':').unwrap();
        let parts: Vec<_> = parts.split_whitespace().map(|part| part.trim_matches('"')).collect();
        let parts = if parts.is_empty() { "(none)".to_owned() } else { parts.join(", ") };
        let row = table.lines().find(|row| {
            let names = row.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
            names.split(", ").any(|word| word == name)
        });
        let row = row.unwrap_or_else(|| panic!("docs/protocol.md has no row for {name}"));
        assert!(row.ends_with(&format!("| {parts} |")), "{name} is made of {parts}, and the row says {row}");
    }
}
