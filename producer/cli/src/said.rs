//! What a kernel's error says besides its message: for programs as values, for people as text.

use gristmill::TaskFailure;
use gristmill::shared::Failure;
use serde_json::{Map, Value};

use crate::json;

/// What people are shown of details, in characters.
const SHOWN: usize = 1_000;

/// What there is of it; empty for most failures.
#[derive(Debug, Clone, Default)]
pub struct Said {
    kind: Option<String>,
    chain: Vec<String>,
    place: Option<String>,
    details: Option<Vec<u8>>,
}

impl From<&TaskFailure> for Said {
    fn from(failure: &TaskFailure) -> Self {
        Self {
            kind: failure.kind_name().map(str::to_owned),
            chain: failure.chain().to_vec(),
            place: failure.place().map(str::to_owned),
            details: failure.details_bytes().map(<[u8]>::to_vec),
        }
    }
}

impl From<&Failure> for Said {
    fn from(failure: &Failure) -> Self {
        Self {
            kind: failure.kind.clone(),
            chain: failure.chain.clone(),
            place: failure.place.clone(),
            details: failure.details.as_deref().cloned(),
        }
    }
}

impl Said {
    /// The fields that there are.
    pub fn fields(&self, for_people: bool) -> Map<String, Value> {
        let chain = (!self.chain.is_empty()).then(|| self.chain.clone());
        let details = self.details.as_ref().map(|bytes| details(bytes, for_people));
        let fields: [(&str, Value); 4] = [
            ("error_kind", self.kind.clone().into()),
            ("chain", chain.into()),
            ("place", self.place.clone().into()),
            ("details", details.into()),
        ];
        fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Message, causes and place in one line.
    pub fn line(&self, message: &str) -> String {
        gristmill::shared::failure::line(message, &self.chain, self.place.as_deref())
    }
}

fn details(bytes: &[u8], for_people: bool) -> Value {
    let Ok(text) = json::from_msgpack(bytes) else {
        return "(details that JSON cannot hold)".into();
    };
    if !for_people {
        return serde_json::from_str(&text).unwrap_or(Value::String(text));
    }
    let short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() { format!("{short}…").into() } else { short.into() }
}

#[cfg(test)]
mod tests {
    use gristmill::shared::KernelError;

    use super::*;

    #[test]
    fn only_what_was_said_is_shown() {
        let plain = Said::from(&Failure::new("no", 1));
        assert!(plain.fields(false).is_empty(), "{plain:?}");
        let error = KernelError::new("no").kind("io").because("disk full").at("a.rs:1:2").details(&[("code", 3)]);
        let said = Said::from(&Failure::of(&error, 1, 1_000));
        let expected = serde_json::json!({
            "error_kind": "io", "chain": ["disk full"], "place": "a.rs:1:2", "details": [["code", 3]],
        });
        assert_eq!(Value::Object(said.fields(false)), expected);
        assert_eq!(said.fields(true)["details"], r#"[["code",3]]"#);
        assert_eq!(said.line("no"), "no: disk full (at a.rs:1:2)");
    }
}
