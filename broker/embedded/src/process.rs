//! What the system knows of a process.

/// Whether a process is a living child of `parent`, and whether it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Runs,
    Stopped,
    /// Dead, or another process by now.
    Gone,
}

/// The state of the child `pid` of `parent`.
pub(crate) fn state(pid: u32, parent: u32) -> State {
    let Some((letter, ppid)) = look(pid) else { return State::Gone };
    match letter {
        _ if ppid != parent => State::Gone,
        'Z' | 'X' => State::Gone,
        'T' => State::Stopped,
        _ => State::Runs,
    }
}

/// /proc/<pid>/stat: the name stands in parentheses and may hold anything, so fields count from its end.
#[cfg(target_os = "linux")]
fn look(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    fields(text.rsplit_once(')')?.1)
}

#[cfg(not(target_os = "linux"))]
fn look(pid: u32) -> Option<(char, u32)> {
    let output = std::process::Command::new("ps").args(["-o", "stat=,ppid=", "-p", &pid.to_string()]).output().ok()?;
    fields(&String::from_utf8_lossy(&output.stdout))
}

fn fields(text: &str) -> Option<(char, u32)> {
    let mut fields = text.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_a_child_of_its_parent() {
        let parent = std::os::unix::process::parent_id();
        assert_eq!(state(std::process::id(), parent), State::Runs);
        assert_eq!(state(std::process::id(), std::process::id()), State::Gone);
    }
}
