//! Answers as rows below a header: the columns are those of the first value.

use serde_json::Value;

use super::{Line, flat};
use crate::input::line_of;
use crate::record::Answer;

/// Failures before the first value wait for its columns, but no more of them than that.
const WAITING_MAX: usize = 1_000;

const FIRST: [&str; 2] = ["index", "id"];
const LAST: [&str; 2] = ["error_kind", "error"];

pub struct Table {
    delimiter: u8,
    with_args: bool,
    columns: Option<Columns>,
    waiting: Vec<Row>,
}

/// What stands between `id` and `error_kind`.
struct Columns {
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
}

/// A value in cells.
enum Cells {
    None,
    Whole(String),
    /// And the whole, as long as it is not known what the columns are.
    Fields(Vec<(String, String)>, String),
}

struct Row {
    index: u64,
    id: String,
    args: Cells,
    value: Cells,
    error: [String; 2],
}

impl Table {
    pub fn new(delimiter: u8, with_args: bool) -> Self {
        Self { delimiter, with_args, columns: None, waiting: Vec::new() }
    }

    pub fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// `false` if the value has fields without a column.
    pub fn write(&mut self, out: &mut Vec<u8>, line: &Line<'_>) -> bool {
        let row = self.row(line);
        if self.columns.is_none() {
            if matches!(row.value, Cells::None) && self.waiting.len() < WAITING_MAX {
                self.waiting.push(row);
                return true;
            }
            self.begin(out, Some(&row));
        }
        self.append(out, row)
    }

    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.columns.is_none() {
            self.begin(out, None);
        }
    }

    fn row(&self, line: &Line<'_>) -> Row {
        let id = line.id.clone().unwrap_or_default();
        let args = match line.args.filter(|_| self.with_args) {
            None => Cells::None,
            Some(bytes) => cells(bytes, self.columns.as_ref().map(|columns| &columns.args)).unwrap_or(Cells::None),
        };
        let (value, error) = match line.answer {
            Answer::NotKept => (Cells::Whole(String::new()), Default::default()),
            Answer::Error(failed) => (Cells::None, [failed.kind.clone(), failed.message_line()]),
            Answer::Value(bytes) => match cells(bytes, self.columns.as_ref().map(|columns| &columns.value)) {
                Ok(cells) => (cells, Default::default()),
                Err(error) => (Cells::None, ["bad_output".to_owned(), error]),
            },
        };
        Row { index: line.index, id, args, value, error }
    }

    /// Writes the header, and what waited for it.
    fn begin(&mut self, out: &mut Vec<u8>, first: Option<&Row>) {
        let waiting = std::mem::take(&mut self.waiting);
        let args = waiting.iter().chain(first).map(|row| &row.args).find(|args| !matches!(args, Cells::None));
        let args = match args {
            _ if !self.with_args => Part::None,
            Some(cells) => Part::of(cells),
            None => Part::Whole,
        };
        let value = first.map_or(Part::Whole, |row| Part::of(&row.value));
        let columns = Columns { args, value };
        out.extend(line_of(columns.header(), self.delimiter));
        self.columns = Some(columns);
        for row in waiting {
            self.append(out, row);
        }
    }

    fn append(&self, out: &mut Vec<u8>, row: Row) -> bool {
        let Some(columns) = &self.columns else { return true };
        let mut line = vec![row.index.to_string(), row.id];
        let mut left = columns.args.append(&mut line, row.args);
        left.extend(columns.value.append(&mut line, row.value));
        let [mut kind, mut error] = row.error;
        if !left.is_empty() {
            kind = "no_column".into();
            let fields = left.into_iter().map(|(name, text)| format!("{}:{}", Value::from(name), Value::from(text)));
            error = format!("the first value had no such fields: {{{}}}", fields.collect::<Vec<_>>().join(","));
        }
        let fits = kind != "no_column";
        line.extend([kind, error]);
        out.extend(line_of(line, self.delimiter));
        fits
    }
}

fn cells(bytes: &[u8], part: Option<&Part>) -> Result<Cells, String> {
    let is_record =
        |fields: &Vec<(String, String)>| !fields.is_empty() && !fields.iter().any(|(name, _)| name.starts_with('$'));
    let fields = match part {
        Some(Part::Whole) => None,
        Some(Part::None | Part::Fields(_)) | None => flat::fields(bytes).filter(is_record),
    };
    match fields {
        Some(fields) if part.is_none() => Ok(Cells::Fields(fields, flat::cell(bytes)?)),
        Some(fields) => Ok(Cells::Fields(fields, String::new())),
        None => flat::cell(bytes).map(Cells::Whole),
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
            Self::Whole => vec![whole],
            Self::Fields(names) => names.iter().map(String::as_str).collect(),
        }
    }

    /// Returns the fields that have no column.
    fn append(&self, line: &mut Vec<String>, cells: Cells) -> Vec<(String, String)> {
        match (self, cells) {
            (Self::None, _) => Vec::new(),
            (Self::Whole, Cells::None) => {
                line.push(String::new());
                Vec::new()
            }
            (Self::Whole, Cells::Whole(text) | Cells::Fields(_, text)) => {
                line.push(text);
                Vec::new()
            }
            (Self::Fields(names), cells) => {
                let mut fields = match cells {
                    Cells::None => Vec::new(),
                    Cells::Whole(text) if text.is_empty() => Vec::new(),
                    Cells::Whole(text) => vec![("value".to_owned(), text)],
                    Cells::Fields(fields, _) => fields,
                };
                for name in names {
                    let at = fields.iter().position(|(other, _)| other == name);
                    line.push(at.map_or_else(String::new, |at| fields.remove(at).1));
                }
                fields
            }
        }
    }
}

impl Columns {
    /// A name that two columns would share is told apart by what it is a field of.
    fn header(&self) -> Vec<String> {
        let (args, value) = (self.args.names("args"), self.value.names("value"));
        let is_taken =
            |name: &str, others: &[&str]| FIRST.contains(&name) || LAST.contains(&name) || others.contains(&name);
        let args_named =
            args.iter().map(|name| if is_taken(name, &[]) { format!("args.{name}") } else { (*name).into() });
        let value_named =
            value.iter().map(|name| if is_taken(name, &args) { format!("value.{name}") } else { (*name).into() });
        let first = FIRST.map(String::from).into_iter();
        first.chain(args_named).chain(value_named).chain(LAST.map(String::from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_msgpack;
    use crate::record::Failed;

    /// Rows of arguments and value; without a value it failed.
    fn table(with_args: bool, rows: &[(&str, Option<&str>)]) -> (String, u64) {
        let (mut table, mut out, mut misfits) = (Table::new(b',', with_args), Vec::new(), 0);
        for (index, (args, value)) in (0..).zip(rows) {
            let answer = match value {
                Some(text) => Answer::Value(to_msgpack(text).unwrap()),
                None => Answer::Error(Failed::input("no, \"really\"".into())),
            };
            let args = to_msgpack(args).unwrap();
            let id = value.map(|_| format!("b.{index}"));
            misfits += u64::from(!table.write(&mut out, &Line { index, id, args: Some(&args), answer: &answer }));
        }
        table.finish(&mut out);
        (String::from_utf8(out).unwrap(), misfits)
    }

    #[test]
    fn values_have_one_column_or_one_per_field() {
        let (text, _) = table(false, &[("1", Some("2")), ("2", Some(r#""a,b""#))]);
        assert_eq!(text, "index,id,value,error_kind,error\n0,b.0,2,,\n1,b.1,\"a,b\",,\n");
        let (text, _) = table(false, &[("1", Some(r#"{"x":1,"y":[2]}"#)), ("2", Some(r#"{"x":null}"#))]);
        assert_eq!(text, "index,id,x,y,error_kind,error\n0,b.0,1,[2],,\n1,b.1,,,,\n");
    }

    #[test]
    fn failures_wait_for_the_columns() {
        let (text, _) = table(false, &[("1", None), ("2", Some(r#"{"x":1}"#))]);
        let failure = "0,,,bad_input,\"no, \"\"really\"\"\"\n";
        assert_eq!(text, format!("index,id,x,error_kind,error\n{failure}1,b.1,1,,\n"));
        let (text, _) = table(false, &[("1", None)]);
        assert_eq!(text, format!("index,id,value,error_kind,error\n{failure}"));
        assert_eq!(table(false, &[]).0, "index,id,value,error_kind,error\n");
        let many = vec![("1", None); WAITING_MAX + 5];
        assert_eq!(table(false, &many).0.lines().count(), WAITING_MAX + 6);
    }

    #[test]
    fn arguments_stand_beside_their_value() {
        let (text, _) = table(true, &[("1", None), (r#"{"n":1}"#, Some("5"))]);
        assert!(text.starts_with("index,id,args,value,error_kind,error\n0,,1,,bad_input"), "{text}");
        let (text, _) = table(true, &[(r#"{"n":1,"id":"x"}"#, Some(r#"{"n":2,"error":3}"#))]);
        assert_eq!(text, "index,id,n,args.id,value.n,value.error,error_kind,error\n0,b.0,1,x,2,3,,\n");
    }

    #[test]
    fn a_value_without_a_column_is_not_lost() {
        let (text, misfits) =
            table(false, &[("1", Some(r#"{"x":1}"#)), ("2", Some(r#"{"x":2,"y":"z"}"#)), ("3", Some("7"))]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], r#"1,b.1,2,no_column,"the first value had no such fields: {""y"":""z""}""#);
        assert_eq!(lines[3], r#"2,b.2,,no_column,"the first value had no such fields: {""value"":""7""}""#);
        assert_eq!(misfits, 2);
        // The other way round nothing is missing.
        let (text, misfits) = table(false, &[("1", Some("7")), ("2", Some(r#"{"x":2}"#))]);
        assert_eq!((text.lines().last(), misfits), (Some(r#"1,b.1,"{""x"":2}",,"#), 0));
    }
}
