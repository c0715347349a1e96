//! Several ids: on the command line, or on stdin as other commands print them.

use std::str::FromStr;

use serde_json::Value;

use crate::exit::Exit;
use crate::id::Id;
use crate::on_thread::stdin_text;

/// More than a million ids.
const TEXT_MAX: u64 = 64 << 20;
/// The fields and columns that hold ids; the first that is there is meant.
const NAMES: [&str; 3] = ["id", "task", "batch"];

/// One id, or all that stand on stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    One(Id),
    Stdin,
}

impl FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" { Ok(Self::Stdin) } else { text.parse().map(Self::One) }
    }
}

/// All of them, in their order.
pub async fn all(given: &[Ids]) -> Result<Vec<Id>, Exit> {
    let mut ids = Vec::new();
    for id in given {
        match id {
            Ids::One(id) => ids.push(*id),
            Ids::Stdin => ids.extend(parse(&stdin_text("ids", TEXT_MAX).await?)?),
        }
    }
    Ok(ids)
}

fn parse(text: &str) -> Result<Vec<Id>, Exit> {
    let text = text.trim_start_matches('\u{feff}');
    let mut ids = Vec::new();
    if let Some(delimiter) = delimiter(text) {
        table(text, delimiter, &mut ids).map_err(Exit::usage)?;
        return Ok(ids);
    }
    if text.trim_start().starts_with('[') {
        let whole = |error| Exit::usage(format!("stdin: not a JSON array: {error}"));
        for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            add(&value.map_err(whole)?, &mut ids).map_err(|why| Exit::usage(format!("stdin: {why}")))?;
        }
        return Ok(ids);
    }
    for (number, line) in (1..).zip(text.lines()) {
        add_line(line.trim(), &mut ids).map_err(|why| Exit::usage(format!("line {number} of stdin: {why}")))?;
    }
    Ok(ids)
}

/// What stands between the cells, if the text begins with a header that has a column of ids.
fn delimiter(text: &str) -> Option<u8> {
    let header = text.lines().find(|line| !line.trim().is_empty())?;
    if header.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let named = |delimiter: &u8| header.split(char::from(*delimiter)).any(|cell| NAMES.contains(&bare(cell)));
    [b',', b'\t'].into_iter().find(named)
}

/// A name of a column, without its quotes.
fn bare(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')).unwrap_or(cell)
}

/// The ids in a table as commands write it. A row without one never became a task.
fn table(text: &str, delimiter: u8, ids: &mut Vec<Id>) -> Result<(), String> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let no_table = |error: csv::Error| format!("stdin is no table: {error}");
    let header = reader.headers().map_err(no_table)?;
    let columns: Vec<usize> =
        NAMES.iter().filter_map(|name| header.iter().position(|cell| bare(cell) == *name)).collect();
    let mut is_long = false;
    for row in reader.records() {
        let row = row.map_err(no_table)?;
        is_long = row.iter().next_back().is_some_and(|cell| cell.contains('\n'));
        let line = row.position().map_or(0, csv::Position::line);
        if let Some(id) = columns.iter().filter_map(|column| row.get(*column)).find(|cell| !cell.is_empty()) {
            ids.push(id.parse().map_err(|why| format!("line {line} of stdin: {why}"))?);
        }
    }
    // The reader forgives a quote without an end, and takes all that follows for one cell.
    if is_long && text.matches('"').count() % 2 == 1 {
        return Err("stdin is no table: a quote is opened and never closed".into());
    }
    Ok(())
}

/// The id on a line: as it is, or in JSON.
fn add_line(line: &str, ids: &mut Vec<Id>) -> Result<(), String> {
    if line.is_empty() {
        return Ok(());
    }
    if !line.starts_with(['{', '"', '[']) {
        ids.push(line.parse()?);
        return Ok(());
    }
    add(&serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?, ids)
}

/// The id of a record, of a failure or of a status; or those of several.
fn add(value: &Value, ids: &mut Vec<Id>) -> Result<(), String> {
    if let Value::Array(values) = value {
        return (1..)
            .zip(values)
            .try_for_each(|(number, value)| add(value, ids).map_err(|why| format!("element {number}: {why}")));
    }
    let object = value.get("$error").unwrap_or(value);
    let field = NAMES.iter().find_map(|name| object.get(*name)?.as_str());
    match value.as_str().or(field) {
        Some(text) => ids.push(text.parse()?),
        // A row that never became a task.
        None if object.get("id").is_some_and(Value::is_null) => {}
        None => return Err("no id in it: expected \"id\", \"task\" or \"batch\"".into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: &str = "01990000-0000-7000-8000-000000000000";

    #[test]
    fn ids_are_read_as_commands_print_them() {
        let text = format!(
            "{BATCH}\n\n {BATCH}.7 \r\n\"{BATCH}\"\n{{\"index\":0,\"id\":\"{BATCH}.0\",\"value\":1}}\n\
             {{\"$error\":{{\"id\":\"{BATCH}.1\"}}}}\n{{\"index\":2,\"id\":null}}\n{{\"batch\":\"{BATCH}\"}}\n"
        );
        let ids: Vec<String> = parse(&text).unwrap().iter().map(ToString::to_string).collect();
        let task = |index: u64| format!("{BATCH}.{index}");
        assert_eq!(ids, [BATCH.to_owned(), task(7), BATCH.to_owned(), task(0), task(1), BATCH.to_owned()]);
        assert_eq!(parse("").unwrap(), []);
        let array = format!(
            "[\n  {{\"task\":\"{BATCH}.0\"}},\n  {{\"batch\":\"{BATCH}\"}},\n \"{BATCH}.7\", {{\"id\":null}}\n]\n"
        );
        let ids: Vec<String> = parse(&array).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(ids, [task(0), BATCH.to_owned(), task(7)]);
        assert_eq!(parse("[]").unwrap(), []);
        assert_eq!("-".parse(), Ok(Ids::Stdin));
    }

    fn texts(text: &str) -> Vec<String> {
        parse(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tables_are_read_as_commands_write_them() {
        let (first, second) = (format!("{BATCH}.0"), format!("{BATCH}.2"));
        let results =
            format!("index,id,value,error_kind,error\n0,{first},\"a\nb,\"\"c\",,\n1,,,bad_input,no\n2,{second},7,,\n");
        let expected = [first.clone(), second.clone()];
        assert_eq!(texts(&results), expected);
        assert_eq!(texts(&format!("\u{feff}{}", results.replace('\n', "\r\n"))), expected);
        assert_eq!(texts(&format!("index\tid\tvalue\n0\t{first}\tx,y\n2\t{second}\t\"\n\"\n")), expected);
        assert_eq!(texts(&format!("\"id\",\"x\"\n\"{first}\",\"1\"\n{second},2\n")), expected);
        assert_eq!(texts(&format!("kernel,task,batch\nk,{first},\nk,,{BATCH}\n")), [first.clone(), BATCH.to_owned()]);
        assert_eq!(texts(&format!("id\n{first}\n{second}\n")), expected);
        assert_eq!(texts("index,id,value,error_kind,error\n"), [""; 0]);
    }

    #[test]
    fn arrays_are_read_as_commands_print_them() {
        let (first, second) = (format!("{BATCH}.0"), format!("{BATCH}.2"));
        let array = format!("[{{\"task\":\"{first}\",\"kernel\":\"k\"}},{{\"batch\":\"{BATCH}\"}}]\n[\"{second}\"]\n");
        let expected = [first, BATCH.to_owned(), second];
        assert_eq!(texts(&array), expected);
        assert_eq!(texts(&array.replace("},", "},\n  ").replace("[{", "[\n  {")), expected, "for people");
        assert_eq!(texts(&format!("{BATCH}\n{}", array.lines().next().unwrap())).len(), 3);
        assert_eq!(texts("[]\n"), [""; 0]);
    }

    #[test]
    fn a_line_without_an_id_is_named() {
        for (text, why) in [
            ("nothing", "line 1 of stdin: \"nothing\" is no id"),
            ("\n{\"value\":7}", "line 2 of stdin: no id in it"),
            ("{\"id\":7", "not JSON"),
            ("{\"id\":\"x\"}", "\"x\" is no id"),
            ("index,value\n0,7\n", "line 1 of stdin: \"index,value\" is no id"),
            ("index,id\n0,x\n", "line 2 of stdin: \"x\" is no id"),
            ("id,value\n,\"x\n,\n", "a quote is opened"),
            ("[{\"value\":7}]", "stdin: element 1: no id in it"),
            ("[{\"batch\":\"x\"}]", "stdin: element 1: \"x\" is no id"),
            ("[\"x\",", "stdin: not a JSON array"),
        ] {
            let error = format!("{:?}", parse(text).unwrap_err());
            assert!(error.contains(&why.replace('"', "\\\"")), "{error}");
        }
    }
}
