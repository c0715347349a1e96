//! What the kernels should return, computed here and differently where that can be.

use std::collections::BTreeMap;

/// √0 + √1 + … + √(n − 1). In the same order, since sums of floating-point numbers depend on it.
pub fn sum_of_roots(n: u64) -> f64 {
    (0..n).fold(0.0, |sum, i| sum + (i as f64).sqrt())
}

/// How often each word stands in a text; counted by cutting all of it into pieces, where the kernel reads on
/// from word to word.
pub fn count_words(text: &str) -> BTreeMap<String, u64> {
    let belongs = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '\u{300}'..='\u{36f}');
    let text = text.to_lowercase().replace('’', "'");
    let mut counts = BTreeMap::new();
    for piece in text.split(|c| !belongs(c)).flat_map(|run| run.split("''")) {
        let word = piece.trim_matches('\'');
        if !word.is_empty() {
            *counts.entry(word.to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums() {
        assert_eq!(sum_of_roots(2), 1.0);
        assert_eq!(sum_of_roots(1_000_000), 666_666_166.458_841_8);
    }

    #[test]
    fn words_by_hand() {
        let counts = count_words("The queue's depth: 'the' QUEUE’S depth, don't -- 2.5 rock''n''roll");
        let by_hand = [
            ("2", 1),
            ("5", 1),
            ("depth", 2),
            ("don't", 1),
            ("n", 1),
            ("queue's", 2),
            ("rock", 1),
            ("roll", 1),
            ("the", 2),
        ];
        assert_eq!(counts, by_hand.map(|(word, count)| (word.to_owned(), count)).into());
    }
}
