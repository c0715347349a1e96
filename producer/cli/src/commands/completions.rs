//! `gristmill completions`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::{Cli, Completions};
use crate::exit::Exit;

pub fn run(args: &Completions) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(&script(args.shell))?;
    Ok(out.flush()?)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gristmill", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn each_shell_has_a_script_of_all_commands() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for name in Cli::command().get_subcommands().map(clap::Command::get_name) {
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
    }

    #[test]
    fn bash_completes_commands_and_options() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&script(Shell::Bash)).unwrap();
        let complete = |words: &str, last: &str| {
            let program = format!(
                "set -eu; source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
                 _gristmill gristmill '{last}' ''; printf '%s\n' \"${{COMPREPLY[@]}}\"",
                file.path().display()
            );
            let ended = Command::new("bash").args(["--norc", "-c", &program]).output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
            String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(complete("gristmill queu", "queu"), ["queues", "queue"]);
        assert_eq!(complete("gristmill map --keep", "--keep"), ["--keep-going"]);
        assert!(complete("gristmill queue p", "p").contains(&"pause".to_owned()));
    }
}
