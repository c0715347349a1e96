//! The page, taken apart.

use std::fs;
use std::path::{Path, PathBuf};

/// A part of the page.
pub struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
    pub rows: Vec<Vec<String>>,
}

/// What stands between fences.
pub struct Block {
    pub language: String,
    pub text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sections in their order.
pub fn sections() -> Vec<Section> {
    let text = fs::read_to_string(root().join("docs/cookbook.md")).unwrap();
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        if let Some(mut block) = open.take() {
            if line == "```" {
                sections.last_mut().unwrap().blocks.push(block);
            } else {
                block.text += &format!("{line}\n");
                open = Some(block);
            }
        } else if let Some(language) = line.strip_prefix("```") {
            open = Some(Block { language: language.to_owned(), text: String::new() });
        } else if line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_owned();
            sections.push(Section { title, blocks: Vec::new(), rows: Vec::new() });
        } else if line.starts_with('|') && !line.starts_with("|---") {
            let hidden = line.replace("\\|", "\0");
            let cells = hidden.trim_matches('|').split('|').map(|cell| cell.trim().replace('\0', "|")).collect();
            sections.last_mut().unwrap().rows.push(cells);
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    // The first row of a table names the columns.
    sections.iter_mut().filter(|section| !section.rows.is_empty()).for_each(|section| drop(section.rows.remove(0)));
    sections
}

/// What stands between backticks.
pub fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// All Rust that is compiled and run for the page, without white space.
pub fn sources() -> String {
    let folders = ["integration-tests/tests/cookbook", "integration-tests/src/bin", "shared/kernels/src/test_kernels"];
    let files = folders.into_iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    files.map(|file| packed(&fs::read_to_string(file.unwrap().path()).unwrap())).collect()
}

/// Where lines are broken, and before which bracket a comma stands, is for the formatter to say.
pub fn packed(text: &str) -> String {
    let packed: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    packed.replace(",)", ")").replace(",}", "}")
}
