//! Every command shows how it is used, and what it shows is what the command line takes.

use clap::{Command, CommandFactory, Parser};

use super::Cli;

/// All commands, whatever they stand beneath.
fn all(command: &Command) -> Vec<Command> {
    let inner = command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set());
    std::iter::once(command.clone()).chain(inner.flat_map(all)).collect()
}

fn commands() -> Vec<Command> {
    let mut root = Cli::command();
    root.build();
    all(&root)
}

fn help(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}

/// What a shell would start of one line: a list of words for each program.
fn programs(line: &str) -> Vec<Vec<String>> {
    let (mut programs, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => word.get_or_insert_default().extend(letters.by_ref().take_while(|letter| *letter != '\'')),
            '"' => word.get_or_insert_default().extend(letters.by_ref().take_while(|letter| *letter != '"')),
            '\\' => word.get_or_insert_default().extend(letters.next()),
            ' ' => words.extend(word.take()),
            '|' | ';' | '&' | '(' | ')' => {
                words.extend(word.take());
                programs.push(std::mem::take(&mut words));
            }
            '#' if word.is_none() => break,
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    programs.push(words);
    programs.into_iter().map(without_redirections).filter(|words| !words.is_empty()).collect()
}

fn without_redirections(words: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if matches!(word.as_str(), ">" | ">>" | "<" | "2>") {
            words.next();
        } else if !word.starts_with(['>', '<']) && !word.starts_with("2>") {
            kept.push(word);
        }
    }
    kept
}

#[test]
fn every_command_has_an_example() {
    for command in commands() {
        assert!(help(&command).starts_with("Example"), "{:?} has none", command.get_bin_name());
    }
}

#[test]
fn every_example_can_be_run_as_it_stands() {
    for command in commands() {
        let (help, called) = (help(&command), command.get_bin_name().unwrap_or("gristmill").to_owned());
        let mut shows_itself = false;
        for words in help.lines().skip(1).flat_map(programs).filter(|words| words[0] == "gristmill") {
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("an example of {called}, {words:?}: {error}");
            }
            shows_itself |= words.join(" ").starts_with(&called);
        }
        assert!(shows_itself, "no example of {called} calls it:\n{help}");
    }
}

#[test]
fn a_line_is_divided_as_a_shell_does() {
    let line = r#"echo '[1, 2]' | gristmill submit "a b" - --wait > out.txt 2>/dev/null # why"#;
    let expected: [&[&str]; 2] = [&["echo", "[1, 2]"], &["gristmill", "submit", "a b", "-", "--wait"]];
    assert_eq!(programs(line), expected);
    assert_eq!(programs("id=$(gristmill submit k)")[1], ["gristmill", "submit", "k"]);
}
