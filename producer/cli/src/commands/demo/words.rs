//! Parts that are merged: the words of the documentation.

use std::collections::BTreeMap;

use super::kernels::word_count;
use super::mill::Mill;
use super::page::{Page, number};
use super::sums::count_words;
use crate::exit::Exit;

/// Ships with the program, so that the demo works anywhere.
const DOCUMENTS: [&str; 5] = [
    include_str!("../../../../../README.md"),
    include_str!("../../../../../docs/architecture.md"),
    include_str!("../../../../../docs/choosing.md"),
    include_str!("../../../../../docs/delivery.md"),
    include_str!("../../../../../docs/protocol.md"),
];
/// Shorter words say little about a text.
const LETTERS: usize = 5;
const SHOWN: usize = 10;
const SHOWN_PER_LINE: usize = 5;

pub async fn run(mill: &mut Mill, page: &mut Page) -> Result<(), Exit> {
    page.step("Parts that are merged")?;
    let paragraphs: Vec<String> = DOCUMENTS.iter().flat_map(|text| text.split("\n\n")).map(str::to_owned).collect();
    page.prose(&format!(
        "The words of Gristmill's own documentation are counted: one task for each of the {} paragraphs of {} \
         documents. A task returns a map of its words, and the client adds the maps up.",
        paragraphs.len(),
        DOCUMENTS.len()
    ))?;
    page.commands(&[r#"sed 's/["\\]/\\&/g; s/.*/"&"/' README.md docs/*.md | gristmill map text.word_count"#])?;
    let counts = match mill.client.map(word_count, paragraphs).await?.collect().await {
        Ok(counts) => counts,
        Err(error) => return page.ended("text.word_count", error),
    };
    let merged = merge(counts);
    let direct = count_words(&DOCUMENTS.join("\n\n"));
    for words in most_frequent(&direct).chunks(SHOWN_PER_LINE) {
        page.line(&words.concat())?;
    }
    page.gap()?;
    let total = |counts: &BTreeMap<String, u64>| number(counts.values().sum());
    let found = if merged == direct {
        format!(
            "{} words, {} different ones: the same as counted directly here",
            total(&direct),
            number(direct.len() as u64)
        )
    } else {
        format!("{} words were counted, and {} stand there", total(&merged), total(&direct))
    };
    page.check("text.word_count", merged == direct, &found)
}

fn merge(counts: Vec<BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut sum: BTreeMap<String, u64> = BTreeMap::new();
    for (word, count) in counts.into_iter().flatten() {
        let entry = sum.entry(word).or_default();
        *entry = entry.saturating_add(count);
    }
    sum
}

/// ` 123 message` for each of the longer words that stand there most often.
fn most_frequent(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let mut long: Vec<_> = counts.iter().filter(|(word, _)| word.chars().count() >= LETTERS).collect();
    long.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
    long.truncate(SHOWN);
    long.into_iter().map(|(word, count)| format!("{count:>5} {word:11}")).collect()
}
