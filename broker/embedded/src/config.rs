//! The server's configuration, as it is written to its standard input.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{AppendOnly, EmbeddedError, EmbeddedOptions};

/// What the options do not say.
pub(crate) struct Place<'a> {
    pub(crate) socket: &'a Path,
    pub(crate) data: &'a Path,
}

/// The whole configuration but for the port, which stands on the command line.
pub(crate) fn text(options: &EmbeddedOptions, place: &Place<'_>) -> Result<String, EmbeddedError> {
    let mut lines = vec![
        format!("unixsocket {}", quoted(place.socket.as_os_str())),
        "unixsocketperm 700".to_owned(),
        format!("dir {}", quoted(place.data.as_os_str())),
        "save \"\"".to_owned(),
        "maxmemory-policy noeviction".to_owned(),
    ];
    lines.push(match options.appendonly {
        AppendOnly::Off => "appendonly no".to_owned(),
        AppendOnly::EverySecond => "appendonly yes\nappendfsync everysec".to_owned(),
        AppendOnly::Always => "appendonly yes\nappendfsync always".to_owned(),
    });
    if let Some(bytes) = options.maxmemory {
        lines.push(format!("maxmemory {bytes}"));
    }
    if let Some(password) = &options.requirepass {
        if password.is_empty() {
            let why = "an empty password protects nothing: leave it away";
            return Err(EmbeddedError::BadOption { name: "requirepass".into(), why });
        }
        lines.push(format!("requirepass {}", quoted(OsStr::new(password))));
    }
    for (name, arguments) in &options.extra {
        lines.push(extra(name, arguments)?);
    }
    Ok(lines.join("\n") + "\n")
}

fn extra(name: &str, arguments: &str) -> Result<String, EmbeddedError> {
    let bad = |why| Err(EmbeddedError::BadOption { name: name.to_owned(), why });
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return bad("a name consists of letters, digits and '-'");
    }
    if arguments.contains(['\n', '\r', '\0']) {
        return bad("its arguments must stand on one line");
    }
    Ok(format!("{name} {arguments}"))
}

/// Redis reads `\xHH` inside double quotes, so any path and any password can be written.
fn quoted(text: &OsStr) -> String {
    let mut out = String::from("\"");
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_cannot_smuggle_in_a_line() {
        let place = Place { socket: Path::new("/t/a b"), data: Path::new("/t") };
        let text = |options: EmbeddedOptions| text(&options, &place);
        let good = text(EmbeddedOptions::new().extra("hz", "50").requirepass("a\n\"b")).unwrap();
        assert!(good.contains("\nhz 50\n") && good.contains(r#"requirepass "a\x0a\x22b""#), "{good}");
        assert!(good.contains(r#"unixsocket "/t/a\x20b""#), "{good}");
        assert!(text(EmbeddedOptions::new().extra("hz", "50\nport 1")).is_err());
        assert!(text(EmbeddedOptions::new().extra("hz 50", "")).is_err());
    }
}
