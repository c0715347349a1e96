//! The columns of a table.

use super::flat;

const FIRST: [&str; 2] = ["index", "id"];
const LAST: [&str; 2] = ["error_kind", "error"];

/// What stands between `id` and `error_kind`.
pub struct Columns {
    args: Part,
    value: Part,
}

/// The columns of one value.
enum Part {
    /// It is not written.
    None,
    /// One column for the whole.
    Whole,
    /// One for each field.
    Fields(Vec<String>),
    /// One of this name stands in a file already: for the whole, or for a field of that name.
    Value,
}

/// A value in cells.
pub enum Cells {
    None,
    Whole(String),
    /// And the whole, as long as it is not known what the columns are.
    Fields(Vec<(String, String)>, String),
}

impl Cells {
    /// Of MessagePack whose columns are not known.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        Self::split(bytes, true)
    }

    fn split(bytes: &[u8], with_whole: bool) -> Result<Self, String> {
        let is_record = |fields: &Vec<(String, String)>| {
            !fields.is_empty() && !fields.iter().any(|(name, _)| name.starts_with('$'))
        };
        let whole = || flat::cell(bytes);
        Ok(match flat::fields(bytes).filter(is_record) {
            Some(fields) => Self::Fields(fields, if with_whole { whole()? } else { String::new() }),
            None => Self::Whole(whole()?),
        })
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl Part {
    fn of(cells: &Cells) -> Self {
        match cells {
            Cells::None | Cells::Whole(_) => Self::Whole,
            Cells::Fields(fields, _) => Self::Fields(fields.iter().map(|(name, _)| name.clone()).collect()),
        }
    }

    fn names<'a>(&'a self, whole: &'a str) -> Vec<&'a str> {
        match self {
            Self::None => Vec::new(),
            Self::Whole | Self::Value => vec![whole],
            Self::Fields(names) => names.iter().map(String::as_str).collect(),
        }
    }

    fn cells(&self, bytes: &[u8]) -> Result<Cells, String> {
        match self {
            Self::None => Ok(Cells::None),
            Self::Whole => flat::cell(bytes).map(Cells::Whole),
            Self::Fields(_) => Cells::split(bytes, false),
            Self::Value => Cells::of(bytes),
        }
    }

    /// Returns the fields that have no column.
    fn append(&mut self, line: &mut Vec<String>, cells: Cells) -> Vec<(String, String)> {
        if matches!(self, Self::Value) && !cells.is_none() {
            let is_field = matches!(&cells, Cells::Fields(fields, _) if fields.iter().any(|(name, _)| name == "value"));
            *self = if is_field { Self::Fields(vec!["value".to_owned()]) } else { Self::Whole };
        }
        let mut fields = match (&*self, cells) {
            (Self::None, _) => return Vec::new(),
            (Self::Whole | Self::Value, Cells::None) => {
                line.push(String::new());
                return Vec::new();
            }
            (Self::Whole | Self::Value, Cells::Whole(text) | Cells::Fields(_, text)) => {
                line.push(text);
                return Vec::new();
            }
            (Self::Fields(_), Cells::None) => Vec::new(),
            (Self::Fields(_), Cells::Whole(text)) if text.is_empty() => Vec::new(),
            (Self::Fields(_), Cells::Whole(text)) => vec![("value".to_owned(), text)],
            (Self::Fields(_), Cells::Fields(fields, _)) => fields,
        };
        for name in self.names("") {
            let at = fields.iter().position(|(other, _)| other == name);
            line.push(at.map_or_else(String::new, |at| fields.remove(at).1));
        }
        fields
    }
}

impl Columns {
    /// For values like these; no arguments are written if there are none.
    pub fn new(args: Option<&Cells>, value: &Cells) -> Self {
        Self { args: args.map_or(Part::None, Part::of), value: Part::of(value) }
    }

    /// Those of a file, which such arguments have made.
    pub fn of_header(names: &[String], args: Option<&Cells>) -> Self {
        let args = args.map_or(Part::None, Part::of);
        let rest = names.strip_prefix(&named_args(&args)[..]).unwrap_or(names);
        let taken = args.names("args");
        let field = |name: &String| {
            let bare = name.strip_prefix("value.").filter(|bare| is_taken(bare, &taken));
            bare.map_or_else(|| name.clone(), str::to_owned)
        };
        let value = match rest {
            [only] if only == "value" || only == "value.value" => Part::Value,
            fields => Part::Fields(fields.iter().map(field).collect()),
        };
        Self { args, value }
    }

    /// A name that two columns would share is told apart by what it is a field of.
    pub fn header(&self) -> Vec<String> {
        let taken = self.args.names("args");
        let value = self
            .value
            .names("value")
            .into_iter()
            .map(|name| if is_taken(name, &taken) { format!("value.{name}") } else { name.to_owned() });
        let (first, last) = (FIRST.map(String::from).into_iter(), LAST.map(String::from));
        first.chain(named_args(&self.args)).chain(value).chain(last).collect()
    }

    pub fn args_cells(&self, bytes: &[u8]) -> Result<Cells, String> {
        self.args.cells(bytes)
    }

    pub fn value_cells(&self, bytes: &[u8]) -> Result<Cells, String> {
        self.value.cells(bytes)
    }

    /// Returns the fields that have no column.
    pub fn append(&mut self, line: &mut Vec<String>, args: Cells, value: Cells) -> Vec<(String, String)> {
        let mut left = self.args.append(line, args);
        left.extend(self.value.append(line, value));
        left
    }
}

/// The columns of a header between the first and the last ones; none: it is no header of ours.
pub fn between(header: &[String]) -> Option<&[String]> {
    let strip = |header: &'static [&str]| header.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    header.strip_prefix(&strip(&FIRST)[..])?.strip_suffix(&strip(&LAST)[..])
}

fn is_taken(name: &str, others: &[&str]) -> bool {
    FIRST.contains(&name) || LAST.contains(&name) || others.contains(&name)
}

fn named_args(args: &Part) -> Vec<String> {
    let named = |name: &str| if is_taken(name, &[]) { format!("args.{name}") } else { name.to_owned() };
    args.names("args").into_iter().map(named).collect()
}
