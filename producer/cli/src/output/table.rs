//! Answers as rows below a header: the columns are those of the first value.

use serde_json::Value;

use super::Line;
use super::columns::{Cells, Columns, between};
use crate::input::line_of;
use crate::record::Answer;

/// Failures before the first value wait for its columns, but no more of them than that.
const WAITING_MAX: usize = 1_000;

pub struct Table {
    delimiter: u8,
    with_args: bool,
    state: State,
}

enum State {
    /// The first value will say what the columns are; failures wait.
    New(Vec<Row>),
    /// A header is there already: its columns between `id` and `error_kind`. The first arguments will say which of
    /// them are theirs.
    Given(Vec<String>),
    Known(Columns),
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
        Self { delimiter, with_args, state: State::New(Vec::new()) }
    }

    /// Goes on below a header.
    pub fn go_on(&mut self, header: &[String]) {
        self.state = State::Given(between(header).unwrap_or_default().to_vec());
    }

    pub fn waiting(&self) -> u64 {
        match &self.state {
            State::New(waiting) => waiting.len() as u64,
            State::Given(_) | State::Known(_) => 0,
        }
    }

    /// `false` if the value has fields without a column.
    pub fn write(&mut self, out: &mut Vec<u8>, line: &Line<'_>) -> bool {
        let row = self.row(line);
        match &mut self.state {
            State::New(waiting) if row.value.is_none() && waiting.len() < WAITING_MAX => {
                waiting.push(row);
                return true;
            }
            State::New(_) => self.begin(out, Some(&row)),
            // Whichever columns are those of the arguments, all of them are empty.
            State::Given(names) if self.with_args && row.args.is_none() && row.value.is_none() => {
                let empty = names.iter().map(|_| String::new());
                let line: Vec<String> =
                    [row.index.to_string(), row.id].into_iter().chain(empty).chain(row.error).collect();
                out.extend(line_of(line, self.delimiter));
                return true;
            }
            State::Given(names) => {
                self.state = State::Known(Columns::of_header(names, self.with_args.then_some(&row.args)));
            }
            State::Known(_) => {}
        }
        self.append(out, row)
    }

    /// Writes what waited, and a header if there is none.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if matches!(self.state, State::New(_)) {
            self.begin(out, None);
        }
    }

    fn row(&self, line: &Line<'_>) -> Row {
        let known = match &self.state {
            State::Known(columns) => Some(columns),
            State::New(_) | State::Given(_) => None,
        };
        let args = line.args.filter(|_| self.with_args);
        let args = args.map(|bytes| known.map_or_else(|| Cells::of(bytes), |columns| columns.args_cells(bytes)));
        let args = args.and_then(Result::ok).unwrap_or(Cells::None);
        let (value, error) = match line.answer {
            Answer::NotKept => (Cells::Whole(String::new()), Default::default()),
            Answer::Error(failed) => (Cells::None, [failed.kind.clone(), failed.message_line()]),
            Answer::Value(bytes) => {
                match known.map_or_else(|| Cells::of(bytes), |columns| columns.value_cells(bytes)) {
                    Ok(cells) => (cells, Default::default()),
                    Err(error) => (Cells::None, ["bad_output".to_owned(), error]),
                }
            }
        };
        Row { index: line.index, id: line.id.clone().unwrap_or_default(), args, value, error }
    }

    /// Writes the header, and what waited for it.
    fn begin(&mut self, out: &mut Vec<u8>, first: Option<&Row>) {
        let State::New(waiting) = &mut self.state else { return };
        let waiting = std::mem::take(waiting);
        let args = waiting.iter().chain(first).map(|row| &row.args).find(|args| !args.is_none());
        let value = first.map_or(&Cells::None, |row| &row.value);
        let columns = Columns::new(self.with_args.then_some(args.unwrap_or(&Cells::None)), value);
        out.extend(line_of(columns.header(), self.delimiter));
        self.state = State::Known(columns);
        for row in waiting {
            self.append(out, row);
        }
    }

    fn append(&mut self, out: &mut Vec<u8>, row: Row) -> bool {
        let State::Known(columns) = &mut self.state else { return true };
        let mut line = vec![row.index.to_string(), row.id];
        let left = columns.append(&mut line, row.args, row.value);
        let fits = left.is_empty();
        if fits {
            line.extend(row.error);
        } else {
            let fields = left.into_iter().map(|(name, text)| format!("{}:{}", Value::from(name), Value::from(text)));
            let fields = fields.collect::<Vec<_>>().join(",");
            line.extend(["no_column".to_owned(), format!("the first value had no such fields: {{{fields}}}")]);
        }
        out.extend(line_of(line, self.delimiter));
        fits
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

    /// Writes all rows into one file, and some of them into another that then goes on in a new process.
    fn assert_goes_on(with_args: bool, rows: &[(&str, Option<&str>)]) {
        let whole = table(with_args, rows).0;
        for written in 1..rows.len() {
            let Some(value) = rows[..written].iter().position(|(_, value)| value.is_some()) else { continue };
            let mut text = table(with_args, &rows[..written]).0.into_bytes();
            let header: Vec<String> = whole.lines().next().unwrap().split(',').map(str::to_owned).collect();
            let mut table = Table::new(b',', with_args);
            table.go_on(&header);
            for (index, (args, value)) in (0..).zip(rows).skip(written) {
                let answer = match value {
                    Some(value) => Answer::Value(to_msgpack(value).unwrap()),
                    None => Answer::Error(Failed::input("no, \"really\"".into())),
                };
                let (args, id) = (to_msgpack(args).unwrap(), value.map(|_| format!("b.{index}")));
                let args = Some(&args[..]).filter(|_| value.is_some());
                table.write(&mut text, &Line { index, id, args, answer: &answer });
            }
            table.finish(&mut text);
            assert_eq!(String::from_utf8(text).unwrap(), whole, "{written} after {value}");
        }
    }

    #[test]
    fn a_table_goes_on_below_its_header() {
        let one = |text| [("1", Some(text)), ("2", Some(text)), ("3", Some(text))];
        for text in ["7", r#"{"x":1,"y":2}"#, r#"{"value":7}"#, r#"{"id":1}"#] {
            assert_goes_on(false, &one(text));
            assert_goes_on(true, &one(text));
            assert_goes_on(true, &[(r#"{"n":1,"x":2}"#, Some(text)), (r#"{"n":2,"x":3}"#, Some(text))]);
        }
        assert_goes_on(false, &[("1", None), ("2", Some(r#"{"x":1}"#)), ("3", None), ("4", Some(r#"{"x":2}"#))]);
        assert_eq!(between(&["a".to_owned()]), None);
    }
}
