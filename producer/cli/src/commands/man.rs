//! `gristmill man`: manual pages, made of what `--help` says.

use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man as Page;

use crate::args::{Cli, Man};
use crate::exit::Exit;

/// What every command ends with but one.
const EXIT_STATUS: [(&str, &str); 9] = [
    ("0", "Fine."),
    ("1", "A task did not succeed."),
    ("2", "Bad usage, bad input, or bad arguments for the kernel."),
    ("3", "Redis is unreachable, or refuses."),
    ("4", "A --timeout passed; the work continues."),
    ("5", "There is no such batch, task, queue or kernel."),
    ("6", "Refused: the queue is full, or Redis near its memory limit."),
    ("70", "A bug."),
    ("130, 143", "Ended by Ctrl-C, or by SIGTERM."),
];

/// What `exec` ends with: counts, and what is no count above them.
const EXIT_STATUS_OF_EXEC: [(&str, &str); 10] = [
    ("0", "All jobs succeeded."),
    ("1 to 100", "So many jobs failed."),
    ("101", "More than 100 jobs failed."),
    ("122", "Bad usage, or bad input."),
    ("123", "Redis is unreachable, or refuses."),
    ("124", "A --timeout passed; the jobs go on."),
    ("125", "No worker runs programs."),
    ("126", "Refused: the queue is full, or Redis near its memory limit."),
    ("190", "A bug."),
    ("130, 143", "Ended by Ctrl-C, or by SIGTERM."),
];

const ENVIRONMENT: [(&str, &str); 4] = [
    ("GRISTMILL_REDIS", "Where Redis is, if --redis does not say it."),
    ("GRISTMILL_NAMESPACE", "The namespace, if --namespace does not say it."),
    ("GRISTMILL_LOG", "What is logged, for instance debug."),
    ("GRISTMILL_LOG_FORMAT", "How it is logged: text or json."),
];

pub fn run(args: &Man) -> Result<(), Exit> {
    let root = root();
    if let Some(dir) = &args.dir {
        return write_all(&root, dir);
    }
    let mut command = &root;
    for name in &args.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            Exit::usage(format!("{} has no command {name:?}; see `gristmill --help`", spoken(command)))
        })?;
    }
    let mut out = io::stdout().lock();
    out.write_all(&page(command)?)?;
    Ok(out.flush()?)
}

fn root() -> Command {
    let mut root = Cli::command();
    root.build();
    root
}

fn write_all(root: &Command, dir: &Path) -> Result<(), Exit> {
    let unwritable = |path: &Path, error: &io::Error| Exit::usage(format!("cannot write {}: {error}", path.display()));
    std::fs::create_dir_all(dir).map_err(|error| unwritable(dir, &error))?;
    for command in all(root) {
        let path = dir.join(format!("{}.1", name(command)));
        std::fs::write(&path, page(command)?).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

/// The command, and all beneath it that are shown.
fn all(command: &Command) -> Vec<&Command> {
    let shown = command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set());
    std::iter::once(command).chain(shown.flat_map(all)).collect()
}

/// `gristmill-queue-pause`
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

/// `gristmill queue pause`
fn spoken(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).to_owned()
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let own = command.clone();
    let page = Page::new(own)
        .title(name(command))
        .source(concat!("gristmill ", env!("CARGO_PKG_VERSION")))
        .manual("Gristmill");
    let mut out = Vec::new();
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        page.render_options_section(&mut out)?;
    }
    if all(command).len() > 1 {
        page.render_subcommands_section(&mut out)?;
    }
    examples(command, &mut out)?;
    let exit_status = if command.get_name() == "exec" { &EXIT_STATUS_OF_EXEC[..] } else { &EXIT_STATUS };
    list(&mut out, "EXIT STATUS", exit_status)?;
    list(&mut out, "ENVIRONMENT", &ENVIRONMENT)?;
    Ok(out)
}

/// What stands below the help, as it stands.
fn examples(command: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let Some(text) = command.get_after_help() else { return Ok(()) };
    let text = text.to_string();
    writeln!(out, ".SH EXAMPLES\n.nf")?;
    for line in text.lines().skip(1) {
        writeln!(out, "{}", escaped(line.strip_prefix("  ").unwrap_or(line)))?;
    }
    writeln!(out, ".fi")
}

fn list(out: &mut Vec<u8>, title: &str, rows: &[(&str, &str)]) -> io::Result<()> {
    writeln!(out, ".SH {title:?}")?;
    for (term, text) in rows {
        writeln!(out, ".TP\n{}\n{}", escaped(term), escaped(text))?;
    }
    Ok(())
}

/// A line that is text to the formatter, whatever stands in it.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::{Command as Process, Stdio};

    use super::*;

    #[test]
    fn each_command_has_a_page_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        write_all(&root(), &dir.path().join("man1")).unwrap();
        let pages: BTreeSet<String> = std::fs::read_dir(dir.path().join("man1"))
            .unwrap()
            .map(|page| page.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(pages.len(), all(&root()).len());
        for page in ["gristmill.1", "gristmill-submit.1", "gristmill-queue-pause.1", "gristmill-dead-retry.1"] {
            assert!(pages.contains(page), "{page} of {pages:?}");
        }
    }

    #[test]
    fn a_page_has_its_sections_and_no_stray_requests() {
        for command in all(&root()) {
            let text = String::from_utf8(page(command).unwrap()).unwrap();
            let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
            assert_eq!(&sections[..3], ["NAME", "SYNOPSIS", "DESCRIPTION"], "{}", spoken(command));
            assert_eq!(&sections[sections.len() - 3..], ["EXAMPLES", "\"EXIT STATUS\"", "\"ENVIRONMENT\""]);
            let requests = [".TH ", ".SH ", ".TP", ".nf", ".fi", ".ie ", ".el ", ".br", ".RS", ".RE", ".IP"];
            for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
                assert!(requests.iter().any(|request| line.starts_with(request)), "{}: {line}", spoken(command));
            }
        }
    }

    #[test]
    fn the_formatter_has_nothing_to_complain_of() {
        for command in all(&root()) {
            let started = Process::new("groff")
                .args(["-man", "-Tutf8", "-ww", "-z"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            // The structure is checked without it, too.
            let Ok(mut groff) = started else { return };
            groff.stdin.take().unwrap().write_all(&page(command).unwrap()).unwrap();
            let ended = groff.wait_with_output().unwrap();
            assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{}", spoken(command));
        }
    }

    #[test]
    fn text_is_never_taken_for_a_request() {
        assert_eq!(escaped(".it's \\n -x"), r"\&.it\(aqs \en \-x");
    }
}
