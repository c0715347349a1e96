//! Which commands a worker runs: patterns of exact words.
//!
//! Words stand apart by blanks and match the elements of a command one by one. `*` within a word stands for any
//! text within that element that makes no `..` of a path; a word that is `*` alone for any element, and as the last
//! one for any further elements. A pattern says all that there is to say: nothing is quoted, expanded or looked up.

use std::fmt;

/// A command line that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    words: Vec<String>,
    /// Any number of further elements may follow.
    open: bool,
}

/// What means something to a shell only: whoever writes it expects one.
const FOR_SHELLS: &[char] = &['\'', '"', '\\', '`', '$', '|', '&', '<', '>', '(', ')', '~', '#'];

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c != ' ' && (c.is_whitespace() || c.is_control())) {
            return Err("has a character that is neither text nor a blank".to_owned());
        }
        if let Some(found) = text.chars().find(|c| FOR_SHELLS.contains(c)) {
            return Err(format!("has {found:?}, but no shell reads it: use words, blanks and *"));
        }
        let mut words: Vec<String> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let Some(program) = words.first() else { return Err("is empty: name a program".to_owned()) };
        if program.contains('=') {
            return Err("begins with a variable: name those that tasks may set with --allow-exec-env".to_owned());
        }
        if program.contains('/') && !program.starts_with('/') {
            return Err("has a relative path: use a name on PATH, or an absolute path".to_owned());
        }
        if program.split('/').any(|part| part == "..") {
            return Err("has .. in the program's path: write the path that is meant".to_owned());
        }
        let open = words.last().is_some_and(|word| word == "*");
        if open {
            words.pop();
        }
        Ok(Self { words, open })
    }

    /// Whether it allows every command.
    pub(super) fn is_everything(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether it allows this one.
    pub(super) fn allows(&self, argv: &[String]) -> bool {
        let fits = if self.open { argv.len() >= self.words.len() } else { argv.len() == self.words.len() };
        fits && !argv.is_empty() && self.words.iter().zip(argv).all(|(word, element)| fits_word(word, element))
    }
}

/// Whether a word of a pattern allows an element. What lies beneath `/data/*` does not lead out of `/data` again:
/// the element has no `..` besides those of the word. A word that is a star alone binds nothing.
fn fits_word(word: &str, element: &str) -> bool {
    matches(word, element) && (word == "*" || ups(element) <= ups(word))
}

/// How often a path goes up. A `..` of a word is there in all that the word matches, so that more are of a star.
pub(super) fn ups(path: &str) -> usize {
    path.split('/').filter(|part| *part == "..").count()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = self.open.then_some("*");
        let words: Vec<&str> = self.words.iter().map(String::as_str).chain(star).collect();
        f.write_str(&words.join(" "))
    }
}

/// Whether `*` in the word can be replaced by texts so that it becomes the element.
///
/// It never looks back further than to the last star, so it takes no longer than word × element.
pub(super) fn matches(word: &str, element: &str) -> bool {
    let (word, element) = (word.as_bytes(), element.as_bytes());
    let (mut w, mut e) = (0, 0);
    // Behind the last star, and how much of the element that star has eaten.
    let mut back: Option<(usize, usize)> = None;
    while e < element.len() {
        match word.get(w) {
            Some(b'*') => {
                w += 1;
                back = Some((w, e));
            }
            Some(byte) if *byte == element[e] => {
                w += 1;
                e += 1;
            }
            _ => {
                let Some((behind, eaten)) = back else { return false };
                w = behind;
                e = eaten + 1;
                back = Some((behind, eaten + 1));
            }
        }
    }
    word[w..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, argv: &[&str]) -> bool {
        let argv: Vec<String> = argv.iter().map(|&element| element.to_owned()).collect();
        Pattern::parse(pattern).unwrap().allows(&argv)
    }

    #[test]
    fn words_match_elements_exactly() {
        assert!(allows("python3 /srv/train.py", &["python3", "/srv/train.py"]));
        assert!(allows("  python3   /srv/train.py ", &["python3", "/srv/train.py"]));
        for other in [
            &["python3"][..],
            &["python3", "/srv/train.py", "--seed"],
            &["python3", "/srv/train.pyc"],
            &["python3", "x/srv/train.py"],
            &["python3 /srv/train.py"],
            &["python3", ""],
            &[],
        ] {
            assert!(!allows("python3 /srv/train.py", other), "{other:?}");
        }
    }

    #[test]
    fn a_star_in_a_word_stays_in_its_element() {
        assert!(allows("convert /data/*.png *x*", &["convert", "/data/a b.png", "10x20"]));
        assert!(allows("convert /data/*.png *x*", &["convert", "/data/.png", "x"]));
        assert!(!allows("convert /data/*.png *x*", &["convert", "/data/a", ".png", "x"]));
        assert!(!allows("convert /data/*.png *x*", &["convert", "/data/a.png", "10"]));
        assert!(allows("echo * end", &["echo", "", "end"]));
        assert!(!allows("echo * end", &["echo", "end"]));
    }

    #[test]
    fn a_star_in_a_word_does_not_lead_out_of_a_directory() {
        let out = ["../x.py", "a/../../x.py", "../../../tmp/x.py", "a/..//x.py", "./../x.py"];
        for rest in out {
            assert!(!allows("python3 /srv/play/*.py *", &["python3", &format!("/srv/play/{rest}")]), "{rest}");
            assert!(!allows("train --in=/data/*", &["train", &format!("--in=/data/{rest}")]), "{rest}");
        }
        for inside in ["a.py", "a/b.py", "..a.py", "a...py", "a/.b/...py", "a b/c.py"] {
            assert!(allows("python3 /srv/play/*.py *", &["python3", &format!("/srv/play/{inside}")]), "{inside}");
        }
        for (word, element) in [("/data/*", "/data/.."), ("/data/.*", "/data/.."), ("/data/*.", "/data/..")] {
            assert!(!allows(&format!("ls {word}"), &["ls", element]), "{word}");
        }
        for (word, element) in [("/opt/*/sh", "/opt/../sh"), ("/data*", "/data/../etc"), ("*/x", "../x")] {
            assert!(!allows(&format!("ls {word}"), &["ls", element]), "{word}");
        }
        // What the operator wrote is meant, and no more of it.
        assert!(allows("ls ../*", &["ls", "../a"]) && !allows("ls ../*", &["ls", "../a/../.."]));
        // A star alone is any argument, as the last one is.
        assert!(allows("cp * /data/", &["cp", "../a", "/data/"]) && allows("ls *", &["ls", "../a"]));
    }

    #[test]
    fn a_last_star_allows_any_further_elements() {
        for argv in [&["python3"][..], &["python3", "-c", "1"], &["python3", ""]] {
            assert!(allows("python3 *", argv), "{argv:?}");
        }
        assert!(!allows("python3 *", &["python"]));
        assert!(allows("*", &["anything", "at", "all"]));
        assert!(Pattern::parse("*").unwrap().is_everything());
        assert!(!allows("*", &[]));
        assert!(!allows("ls -* ", &["ls", "-l", "-a"]), "that star belongs to a word");
    }

    #[test]
    fn what_a_shell_would_read_is_refused() {
        for (pattern, why) in [
            ("", "is empty"),
            ("   ", "is empty"),
            ("sh -c 'echo hi'", "no shell reads it"),
            ("cat a | sh", "no shell reads it"),
            ("echo $HOME", "no shell reads it"),
            ("echo a\\ b", "no shell reads it"),
            ("~/bin/x", "no shell reads it"),
            ("LANG=C sort *", "begins with a variable"),
            ("./train *", "relative path"),
            ("bin/train", "relative path"),
            ("/opt/../bin/sh", "has .."),
            ("echo a\0b", "neither text nor a blank"),
            ("echo\ta", "neither text nor a blank"),
            ("echo\na", "neither text nor a blank"),
            ("echo\u{a0}a", "neither text nor a blank"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert!(error.contains(why), "{pattern:?}: {error}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let word = "*a".repeat(200) + "b";
        let began = std::time::Instant::now();
        assert!(!matches(&word, &"a".repeat(100_000)));
        assert!(matches(&"*".repeat(500), &"a".repeat(100_000)));
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
