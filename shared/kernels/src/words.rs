//! `text.word_count`: an example whose parts are merged.

use std::collections::BTreeMap;

use gristmill_shared::{KernelError, kernel};

/// Longest text of one task, bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Most different words of one task; what they take in memory stays around 100 MiB.
pub const DIFFERENT_WORDS_MAX: usize = 1_000_000;

/// Counts how often each word stands in a text.
///
/// A word is a longest run of letters and digits of any script (Unicode's Alphabetic and Numeric), in lower
/// case. Inside a word, one apostrophe (' or ’, both counted as ') belongs to it, and so do the combining marks
/// U+0300 to U+036F: "don't" is one word, "command-line" two. Text is taken as it comes: whoever mixes
/// composed and decomposed accents normalises first. Counts of several texts add up, unless a word was cut
/// in two; a line is a good part.
///
/// An error, never retried, above 16 MiB of text or 1,000,000 different words.
#[kernel(name = "text.word_count")]
pub fn word_count(text: String) -> Result<BTreeMap<String, u64>, KernelError> {
    if text.len() > TEXT_BYTES_MAX {
        let len = text.len();
        return Err(KernelError::fatal(format!("the text has {len} bytes: send at most {TEXT_BYTES_MAX} per task")));
    }
    count(&text, DIFFERENT_WORDS_MAX)
}

fn count(text: &str, different_max: usize) -> Result<BTreeMap<String, u64>, KernelError> {
    let mut counts = BTreeMap::new();
    for word in Words(text) {
        let word = word.replace('’', "'").to_lowercase();
        *counts.entry(word).or_insert(0) += 1;
        if counts.len() > different_max {
            let what = format!("the text has more than {different_max} different words: split it into several tasks");
            return Err(KernelError::fatal(what));
        }
    }
    Ok(counts)
}

/// The words of what is left of a text, as they stand there.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.0.find(char::is_alphanumeric)?;
        let rest = &self.0[start..];
        let end = end_of_word(rest);
        self.0 = &rest[end..];
        Some(&rest[..end])
    }
}

/// Where the word ends that `text` begins with.
fn end_of_word(text: &str) -> usize {
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let goes_on = c.is_alphanumeric() || is_combining(c);
        let joins = is_apostrophe(c) && chars.peek().is_some_and(|&(_, next)| next.is_alphanumeric());
        if !goes_on && !joins {
            return at;
        }
    }
    text.len()
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’')
}

/// Accents that stand behind their letter as characters of their own.
fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Vec<(String, u64)> {
        word_count(text.to_owned()).unwrap().into_iter().collect()
    }

    fn expected<const N: usize>(counts: [(&str, u64); N]) -> Vec<(String, u64)> {
        counts.map(|(word, count)| (word.to_owned(), count)).to_vec()
    }

    #[test]
    fn counts_by_hand() {
        let text = "The queue is a list.\nThe list is the queue; the depth of THE queue is 2, not 2.5!";
        let by_hand = [
            ("2", 2),
            ("5", 1),
            ("a", 1),
            ("depth", 1),
            ("is", 3),
            ("list", 2),
            ("not", 1),
            ("of", 1),
            ("queue", 3),
            ("the", 5),
        ];
        assert_eq!(counted(text), expected(by_hand));
        assert_eq!(counted(""), []);
        assert_eq!(counted(" \t\n--- … 🎉"), []);
    }

    #[test]
    fn an_apostrophe_belongs_to_a_word_only_inside_it() {
        assert_eq!(counted("don't don’t 'don't' ''"), expected([("don't", 3)]));
        assert_eq!(
            counted("rock''n''roll workers' 'tis"),
            expected([("n", 1), ("rock", 1), ("roll", 1), ("tis", 1), ("workers", 1)])
        );
        assert_eq!(
            counted("command-line snake_case"),
            expected([("case", 1), ("command", 1), ("line", 1), ("snake", 1)])
        );
    }

    #[test]
    fn any_script_counts() {
        assert_eq!(counted("Größe GRÖSSE größe"), expected([("grösse", 1), ("größe", 2)]));
        // a sigma at the end of a word is another letter than one inside
        assert_eq!(counted("ΟΔΟΣ οδος. Ωμέγα"), expected([("οδος", 2), ("ωμέγα", 1)]));
        assert_eq!(counted("cafe\u{301} café"), expected([("cafe\u{301}", 1), ("café", 1)]));
        assert_eq!(counted("日本語、日本語 ٣٤"), expected([("٣٤", 1), ("日本語", 2)]));
        assert_eq!(counted("\u{301}a"), expected([("a", 1)]));
    }

    #[test]
    fn parts_add_up() {
        let text = "one two\ntwo three\nthree three";
        let mut sum: BTreeMap<String, u64> = BTreeMap::new();
        for (word, count) in text.lines().flat_map(counted) {
            *sum.entry(word).or_default() += count;
        }
        assert_eq!(sum.into_iter().collect::<Vec<_>>(), counted(text));
    }

    #[test]
    fn a_text_without_end_is_refused() {
        let error = word_count("a".repeat(TEXT_BYTES_MAX + 1)).unwrap_err();
        assert!(error.message().contains("send at most 16777216"), "{error}");
        assert_eq!(error.retry(), gristmill_shared::kernel::Retry::Never);
        // one word, as long as can be
        assert_eq!(word_count("a".repeat(TEXT_BYTES_MAX)).unwrap().len(), 1);
    }

    #[test]
    fn endlessly_many_words_are_refused() {
        assert_eq!(count("a b c a", 3).unwrap().len(), 3);
        assert!(count("a b c d", 3).unwrap_err().message().contains("more than 3 different words"));
    }
}
