//! The documentation names files and log events that exist.

use std::collections::BTreeSet;
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
        include_str!("../../docs/kernels.md"),
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

/// `delivery.md` promises nothing without a test: names in brackets, as in [`this_one`, `that_one`].
#[test]
fn every_test_that_delivery_names_exists() {
    let mut tests = BTreeSet::new();
    collect_tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut tests);
    assert!(tests.len() > 300, "only {} tests found", tests.len());
    let page = include_str!("../../docs/delivery.md");
    let mut named = 0;
    for name in page.split("[`").skip(1).flat_map(|rest| proofs(rest).collect::<Vec<_>>()) {
        assert!(tests.contains(name), "docs/delivery.md names the test {name}, which does not exist");
        named += 1;
    }
    assert!(named > 60, "only {named} tests are named");
}

/// What stands between brackets, from behind the first backtick on.
fn proofs(rest: &str) -> impl Iterator<Item = &str> {
    let list = rest.split_once("`]").map_or("", |(list, _)| list);
    list.split(',').map(|name| name.trim().trim_matches('`'))
}

/// In this page a promise is a row of a table or an item of a list; none stands without its proof.
#[test]
fn delivery_promises_nothing_without_a_test() {
    let page = include_str!("../../docs/delivery.md");
    let (_, promises) = page.split_once("## In seven lines").unwrap();
    let (promises, _) = promises.split_once("## What is not promised").unwrap();
    let mut items = 0;
    for section in promises.split("\n\n") {
        let table = section.starts_with('|');
        let lines: Vec<_> = section.lines().skip(if table { 2 } else { 0 }).collect();
        for item in lines.iter().filter(|line| table || line.starts_with("- ")) {
            assert!(item.contains("[`"), "docs/delivery.md promises this without a test: {item}");
            items += 1;
        }
    }
    assert!(items > 40, "only {items} promises found");
}

/// Names of test functions in all Rust files below a directory.
fn collect_tests(dir: &Path, tests: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                collect_tests(&path, tests);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
                let name =
                    line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
                if let Some(name) = name.filter(|_| is_test) {
                    tests.insert(name.to_owned());
                    is_test = false;
                }
            }
        }
    }
}
