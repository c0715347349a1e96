//! How the demo looks: headings, short paragraphs, the command to do it oneself, and what was verified.

use std::io::{IsTerminal, Write};

use gristmill::TaskError;

use crate::exit::{Exit, one_line};

/// Longest line.
const WIDTH: usize = 100;
/// What stands before everything but headings.
const MARGIN: &str = "   ";

/// What has been printed so far, and what was found.
pub struct Page {
    colours: bool,
    steps: usize,
    held: Vec<&'static str>,
    failed: Vec<&'static str>,
}

impl Page {
    /// On stdout, with colours where that is a terminal which wants them.
    pub fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let colours = std::io::stdout().is_terminal() && !plain && !dumb;
        Self { colours, steps: 0, held: Vec::new(), failed: Vec::new() }
    }

    /// Names of the checks that held.
    pub fn held(&self) -> &[&'static str] {
        &self.held
    }

    /// Names of the checks that did not.
    pub fn failed(&self) -> &[&'static str] {
        &self.failed
    }

    /// Begins a step.
    pub fn step(&mut self, title: &str) -> Result<(), Exit> {
        self.steps += 1;
        let title = format!("{}. {title}", self.steps);
        self.print(&format!("\n{}\n\n", self.bold(&title)))
    }

    /// A paragraph; lines are broken as they fit.
    pub fn prose(&self, text: &str) -> Result<(), Exit> {
        self.print(&wrapped(text, MARGIN, MARGIN))
    }

    /// A line as it is.
    pub fn line(&self, text: &str) -> Result<(), Exit> {
        self.print(&format!("{MARGIN}  {}\n", text.trim_end()))
    }

    /// An empty line.
    pub fn gap(&self) -> Result<(), Exit> {
        self.print("\n")
    }

    /// Commands that do the same.
    pub fn commands(&self, commands: &[&str]) -> Result<(), Exit> {
        self.gap()?;
        for command in commands {
            self.print(&format!("{MARGIN}{}\n", self.bold(&format!("$ {command}"))))?;
        }
        self.gap()
    }

    /// A check: what was found.
    pub fn check(&mut self, name: &'static str, holds: bool, found: &str) -> Result<(), Exit> {
        if holds {
            self.held.push(name);
            return self.marked("✓", 32, &format!("verified: {found}"));
        }
        self.failed.push(name);
        self.marked("✗", 31, &format!("FAILED: {name}: {found}"))
    }

    /// Something that is not as it should be, but is no fault of Gristmill.
    pub fn warn(&self, text: &str) -> Result<(), Exit> {
        self.marked("!", 33, text)
    }

    /// A task that ended badly fails the check; a client that cannot go on ends the demo.
    pub fn ended(&mut self, name: &'static str, error: TaskError) -> Result<(), Exit> {
        match error {
            TaskError::Client(error) => Err(error.into()),
            error => self.check(name, false, &one_line(&error.to_string())),
        }
    }

    /// Text on stdout at once: whoever looks on wants to see how it goes.
    fn print(&self, text: &str) -> Result<(), Exit> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    fn marked(&self, mark: &str, colour: u8, text: &str) -> Result<(), Exit> {
        let text = wrapped(text, &format!("{MARGIN}{mark} "), &format!("{MARGIN}  "));
        self.print(&text.replacen(mark, &self.coloured(mark, colour), 1))
    }

    fn bold(&self, text: &str) -> String {
        self.coloured(text, 1)
    }

    fn coloured(&self, text: &str, code: u8) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Breaks a text into lines of [`WIDTH`], the first behind `first`, the others behind `others`. A control
/// character, as in the message of a task, does not reach the terminal.
fn wrapped(text: &str, first: &str, others: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut lines = vec![first.to_owned()];
    let mut width = first.chars().count();
    let mut begun = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let len = word.chars().count();
        if begun && width + 1 + len > WIDTH {
            lines.push(others.to_owned());
            (width, begun) = (others.chars().count(), false);
        }
        // A line was pushed just now, or stood there before.
        if let Some(line) = lines.last_mut() {
            if begun {
                line.push(' ');
            }
            line.push_str(word);
        }
        width += len + usize::from(begun);
        begun = true;
    }
    lines.join("\n") + "\n"
}

/// `20,000`: a number that people count digits of.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_between_words() {
        let text = wrapped(&"word ".repeat(40), "   ✓ ", "     ");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(lines[0].starts_with("   ✓ word") && lines[1].starts_with("     word"), "{text}");
        assert_eq!(text.matches("word").count(), 40);
        assert_eq!(wrapped("a\x1b[2Jb\nc", "", ""), "a [2Jb c\n");
    }

    #[test]
    fn thousands_are_set_apart() {
        let texts = [0, 999, 1_000, 20_000, 1_234_567].map(number);
        assert_eq!(texts, ["0", "999", "1,000", "20,000", "1,234,567"]);
    }
}
