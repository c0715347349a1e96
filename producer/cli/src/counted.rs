//! Numbers of things in words.

use std::fmt::Display;

/// `1 task`, `2 tasks`: a number with its noun.
pub fn counted(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let ending = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        let texts = [0, 1, 2, 11].map(|number| counted(number, "task"));
        assert_eq!(texts, ["0 tasks", "1 task", "2 tasks", "11 tasks"]);
    }
}
