//! The recipes for shells and for Python, run as they stand on the page.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use gristmill_integration_tests::binaries;
use tempfile::TempDir;

use crate::page::sections;
use crate::{Outcome, Scene};

/// Runs scripts in a directory of their own.
pub struct Shell {
    dir: TempDir,
    redis: String,
}

impl Shell {
    pub fn new(redis: &str) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), redis: redis.to_owned() }
    }

    /// What a script prints; else its exit code, and what it says.
    pub fn run(&self, script: &str) -> Result<String, (i32, String)> {
        let ended = Command::new("timeout")
            .args(["60", "bash", "--norc", "-euo", "pipefail", "-c", script])
            .current_dir(self.dir.path())
            .env("PATH", path_variable())
            .env("GRISTMILL_REDIS", &self.redis)
            .env_remove("GRISTMILL_NAMESPACE")
            .env_remove("GRISTMILL_LOG")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match ended.status.code() {
            Some(0) => Ok(text(&ended.stdout)),
            code => Err((code.unwrap_or(-1), format!("{}{}", text(&ended.stdout), text(&ended.stderr)))),
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }
}

/// The built binaries come first.
pub fn path_variable() -> String {
    let built: PathBuf = binaries::find("gristmill").parent().unwrap().into();
    format!("{}:{}", built.display(), env::var("PATH").unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recipes_do_what_they_say() -> Outcome {
    let scene = Scene::start().await;
    let (mut count, mut wrong) = (0, Vec::new());
    for section in sections() {
        let shell = Shell::new(&scene.redis.url());
        shell.run("until gristmill kernels --json | grep -q square; do sleep 0.05; done").unwrap();
        let mut blocks = section.blocks.iter().peekable();
        while let Some(block) = blocks.next() {
            match block.language.as_str() {
                // Its first line says what the file is called.
                "python" => {
                    let name = block.text.lines().next().unwrap().trim_start_matches("# ");
                    shell.write(name, &block.text);
                }
                "sh" => {
                    let said = shell.run(&block.text);
                    let said = said.unwrap_or_else(|(code, said)| format!("exit {code}: {said}"));
                    let expected = blocks.next_if(|next| next.language == "text").map_or("", |next| &next.text);
                    if said != expected {
                        wrong.push(format!("{}:\n{}\nprints:\n{said}", section.title, block.text));
                    }
                    count += 1;
                }
                "rust" | "text" | "crontab" => {}
                other => panic!("{}: what is {other}?", section.title),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 8, "{count} scripts");
    Ok(())
}
