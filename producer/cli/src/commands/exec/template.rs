//! Texts with placeholders: `{}`, `{name}`, `{#}`.

use std::fmt;

/// A text whose placeholders are filled for each job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Row,
    Number,
    Field(String),
}

/// What placeholders stand for in one job.
pub struct Values<'a> {
    /// `{#}`
    pub number: u64,
    /// `{}`; none: there is no row.
    pub row: Option<&'a str>,
    /// `{name}`
    pub fields: &'a [(String, String)],
}

/// A placeholder that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(String);

impl Missing {
    /// In words, with what there is.
    pub fn tell(&self, row: bool, names: &[String]) -> String {
        let mut known: Vec<String> = row.then(|| "{}".to_owned()).into_iter().collect();
        known.extend(names.iter().map(|name| format!("{{{name}}}")));
        known.push("{#}".to_owned());
        format!("there is no {self}: use {} (write {{{{ and }}}} for braces)", known.join(", "))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.0)
    }
}

impl Template {
    /// Reads a text; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} {what}; write {{{{ and }}}} for braces that are no placeholder");
        let (mut pieces, mut plain) = (Vec::new(), String::new());
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.next() {
            match next {
                '{' | '}' if rest.peek() == Some(&next) => {
                    rest.next();
                    plain.push(next);
                }
                '}' => return Err(wrong("has a } without a {")),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some('{') | None => return Err(wrong("has a { without a }")),
                            Some(other) => name.push(other),
                        }
                    }
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(match name.as_str() {
                        "" => Piece::Row,
                        "#" => Piece::Number,
                        _ => Piece::Field(name),
                    });
                }
                other => plain.push(other),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// A text that is `{}` alone.
    pub fn row() -> Self {
        Self(vec![Piece::Row])
    }

    /// Whether it depends on the row.
    pub fn has_placeholder(&self) -> bool {
        self.0.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// The first placeholder that no row with these columns can fill.
    pub fn missing(&self, names: &[String]) -> Option<Missing> {
        self.0.iter().find_map(|piece| match piece {
            Piece::Field(name) if !names.contains(name) => Some(Missing(name.clone())),
            _ => None,
        })
    }

    /// The text of one job.
    pub fn fill(&self, values: &Values<'_>) -> Result<String, Missing> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Number => filled.push_str(&values.number.to_string()),
                Piece::Row => filled.push_str(values.row.ok_or_else(|| Missing(String::new()))?),
                Piece::Field(name) => {
                    let found = values.fields.iter().find(|(field, _)| field == name);
                    filled.push_str(&found.ok_or_else(|| Missing(name.clone()))?.1);
                }
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, String> {
        let fields = [("seed".to_owned(), "7".to_owned()), ("a b".to_owned(), "{x}".to_owned())];
        let values = Values { number: 3, row: Some("the row"), fields: &fields };
        let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
        Template::parse(text)?.fill(&values).map_err(|missing| missing.tell(true, &names))
    }

    #[test]
    fn placeholders_are_filled_once() {
        assert_eq!(fill("--seed={seed}").unwrap(), "--seed=7");
        assert_eq!(fill("{#}:{}:{a b}").unwrap(), "3:the row:{x}");
        assert_eq!(fill("{{}} {{seed}} {{{seed}}}").unwrap(), "{} {seed} {7}");
        assert_eq!(fill("").unwrap(), "");
        assert_eq!(fill("plain").unwrap(), "plain");
    }

    #[test]
    fn what_is_missing_is_named_with_what_there_is() {
        let told = "there is no {sed}: use {}, {seed}, {a b}, {#} (write {{ and }} for braces)";
        assert_eq!(fill("x{sed}"), Err(told.to_owned()));
        let alone = Values { number: 1, row: None, fields: &[] };
        let missing = Template::parse("{}").unwrap().fill(&alone).unwrap_err();
        assert_eq!(missing.tell(false, &[]), "there is no {}: use {#} (write {{ and }} for braces)");
        let names = ["seed".to_owned()];
        assert_eq!(Template::parse("{seed}{}{#}").unwrap().missing(&names), None);
        assert!(Template::parse("{sed}").unwrap().missing(&names).is_some());
    }

    #[test]
    fn braces_come_in_pairs() {
        for text in ["{", "}", "{seed", "a}b", "{a{b}}", "${HOME"] {
            assert!(Template::parse(text).unwrap_err().contains("{{ and }}"), "{text}");
        }
        assert!(!Template::parse("{{x}}").unwrap().has_placeholder());
        assert!(Template::parse("{{{#}}}").unwrap().has_placeholder());
    }
}
