//! What becomes of a row: the arguments of a kernel, as far as is known what it takes.

use gristmill::shared::defaults::BLOB_BYTES_MAX;
use rmp::encode::{self, ByteBuf};
use serde_json::Value;

use super::reader::{Made, Make};
use super::record::{Cell, Record};
use super::takes::{Kinds, Takes};
use crate::arguments::ArgumentCheck;
use crate::json;

/// Makes the arguments of one kernel.
pub struct Arguments {
    takes: Takes,
    check: ArgumentCheck,
    /// Cells of files are texts, whatever they look like.
    strings: bool,
    /// Whether somebody wants to see the columns beside the results.
    shows: bool,
    columns: Columns,
}

/// How the cells of a row become one value.
#[derive(Default)]
struct Columns {
    /// What may stand in each, in the order of the columns.
    kinds: Vec<Kinds>,
    form: Form,
}

#[derive(Debug, Default, Clone, PartialEq)]
enum Form {
    /// The only cell is the value.
    #[default]
    Bare,
    /// The names of the columns are keys.
    Object,
    /// The columns in their order.
    Array,
}

impl Arguments {
    /// For a kernel that takes what the check says.
    pub fn of(check: ArgumentCheck, strings: bool) -> Self {
        Self { takes: Takes::of(check.schema()), check, strings, shows: false, columns: Columns::default() }
    }

    /// Shows rows of cells by the names of their columns, whatever the kernel gets.
    #[must_use]
    pub fn shown(mut self, shows: bool) -> Self {
        self.shows = shows;
        self
    }

    fn by_name(&self, names: &[String], cells: &[Cell]) -> Result<Vec<u8>, String> {
        let mut out = ByteBuf::new();
        let Ok(_) = encode::write_map_len(&mut out, names.len() as u32);
        for (i, name) in names.iter().enumerate() {
            let Ok(_) = encode::write_str(&mut out, name);
            json::write(&mut out, &self.cell(names, cells, i)?).map_err(|error| error.to_string())?;
        }
        Ok(out.into_vec())
    }

    fn cells(&self, names: &[String], cells: &[Cell]) -> Result<Value, String> {
        let cell = |i: usize| self.cell(names, cells, i);
        match &self.columns.form {
            Form::Bare => cell(0),
            Form::Object => {
                let fields = names.iter().enumerate().map(|(i, name)| Ok((name.clone(), cell(i)?)));
                fields.collect::<Result<_, String>>().map(Value::Object)
            }
            Form::Array => (0..names.len()).map(cell).collect::<Result<_, String>>().map(Value::Array),
        }
    }

    fn cell(&self, names: &[String], cells: &[Cell], i: usize) -> Result<Value, String> {
        let kinds = self.columns.kinds.get(i).copied().unwrap_or_default();
        match &cells[i] {
            Cell::Value(value) => Ok(kinds.adapt(value)),
            Cell::Text(text) if self.strings => Ok(text.as_str().into()),
            Cell::Text(text) => kinds.read(text).map_err(|why| format!("the column {:?}: {why}", names[i])),
        }
    }
}

impl Make for Arguments {
    fn columns(&mut self, names: &[String]) -> Result<(), String> {
        let (form, kinds) = match &self.takes {
            Takes::Unknown if names.len() == 1 => (Form::Bare, vec![Kinds::ANY]),
            Takes::Unknown => (Form::Object, vec![Kinds::ANY; names.len()]),
            Takes::One(kinds) if names.len() == 1 => (Form::Bare, vec![*kinds]),
            Takes::List(_) if names.len() == 1 => (Form::Bare, vec![Kinds::STRUCTURED]),
            Takes::One(_) => {
                let names = names.join(", ");
                return Err(format!("the kernel takes one value, but there are several columns: {names}"));
            }
            Takes::List(kinds) => (Form::Array, vec![*kinds; names.len()]),
            Takes::Record(fields) => {
                let missing = fields.iter().find(|field| field.required && !names.contains(&field.name));
                if let Some(field) = missing {
                    let names = names.join(", ");
                    return Err(format!("the kernel needs the field {:?}; there are: {names}", field.name));
                }
                let kinds = |name: &String| fields.iter().find(|field| field.name == *name).map(|field| field.kinds);
                (Form::Object, names.iter().map(|name| kinds(name).unwrap_or_default()).collect())
            }
            Takes::Several(parameters) => {
                let places = places(parameters, names)?;
                let kinds = places.iter().map(|place| parameters[*place].1).collect();
                // Where names are known, the check puts them in order, and what may be left out is nothing.
                let by_name = parameters.iter().all(|(name, _)| name.is_some());
                (if by_name { Form::Object } else { Form::Array }, kinds)
            }
        };
        self.columns = Columns { kinds, form };
        Ok(())
    }

    fn row(&mut self, record: Record) -> Result<Made, String> {
        let mut shown = None;
        let args = match record {
            Record::Json(line) => self.check.read(&line),
            Record::Text(line) => self.check.pack(line.into()),
            Record::Cells { names, cells } => {
                let args = self.cells(&names, &cells)?;
                shown = self.shows.then(|| self.by_name(&names, &cells)).transpose()?;
                self.check.pack(args)
            }
        };
        let args = args.map_err(|error| error.to_string())?;
        if args.len() > BLOB_BYTES_MAX {
            // The client says the same, but would end with it.
            return Err(format!("its arguments have {} bytes; at most {BLOB_BYTES_MAX} can be sent", args.len()));
        }
        Ok(Made { args, shown, again: None })
    }
}

/// Which parameter each column is: by name where the parameters have names, else in their order.
fn places(parameters: &[(Option<String>, Kinds)], names: &[String]) -> Result<Vec<usize>, String> {
    let (count, found) = (parameters.len(), names.join(", "));
    let Some(wanted) = parameters.iter().map(|(name, _)| name.as_deref()).collect::<Option<Vec<&str>>>() else {
        if names.len() != count {
            return Err(format!("the kernel takes {count} arguments; there are: {found}"));
        }
        return Ok((0..count).collect());
    };
    let wrong = || format!("the kernel takes {}; there are: {found}", wanted.join(", "));
    let needs =
        |(name, (_, kinds)): (&&str, &(_, Kinds))| !kinds.may_be_nothing() && !names.iter().any(|other| other == name);
    if wanted.iter().zip(parameters).any(needs) {
        return Err(wrong());
    }
    names.iter().map(|name| wanted.iter().position(|other| other == name).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn made(schema: &Value, strings: bool, names: &[&str], cells: &[&str]) -> Result<String, String> {
        let names: Arc<[String]> = names.iter().map(ToString::to_string).collect();
        let cells = cells.iter().map(|text| Cell::Text(text.to_string())).collect();
        let mut arguments = Arguments::of(ArgumentCheck::by_schema(schema), strings);
        arguments.columns(&names)?;
        let made = arguments.row(Record::Cells { names, cells })?;
        Ok(json::from_msgpack(&made.args).unwrap())
    }

    #[test]
    fn without_a_schema_cells_are_what_they_look_like() {
        let cells = |cells: &[&str]| made(&Value::Null, false, &["a", "b", "c"], cells).unwrap();
        assert_eq!(cells(&["1", "-2.5e3", "007"]), r#"{"a":1,"b":-2500.0,"c":"007"}"#);
        assert_eq!(cells(&["true", "", "x y"]), r#"{"a":true,"b":null,"c":"x y"}"#);
        assert_eq!(cells(&["+1", " 1", "NaN"]), r#"{"a":"+1","b":" 1","c":"NaN"}"#);
        assert_eq!(cells(&["[1]", "1.", "null"]), r#"{"a":"[1]","b":"1.","c":"null"}"#);
        assert_eq!(made(&Value::Null, false, &["n"], &["7"]).unwrap(), "7");
        assert_eq!(made(&Value::Null, true, &["n", "m"], &["7", ""]).unwrap(), r#"{"n":"7","m":""}"#);
        let error = made(&Value::Null, false, &["n"], &["99999999999999999999"]).unwrap_err();
        assert!(error.contains("\"n\"") && error.contains("64 bits"), "{error}");
    }

    #[test]
    fn a_record_is_always_an_object_and_texts_stay_texts() {
        let schema = json!({
            "type": "object", "required": ["path"],
            "properties": { "path": { "type": "string" }, "size": { "type": ["integer", "null"] } },
        });
        assert_eq!(made(&schema, false, &["path"], &["007"]).unwrap(), r#"{"path":"007"}"#);
        assert_eq!(made(&schema, false, &["size", "path"], &["", "true"]).unwrap(), r#"{"size":null,"path":"true"}"#);
        assert_eq!(made(&schema, false, &["path", "more"], &["a", "5"]).unwrap(), r#"{"path":"a","more":5}"#);
        let error = made(&schema, false, &["size"], &["1"]).unwrap_err();
        assert!(error.contains("\"path\"") && error.contains("size"), "{error}");
    }

    #[test]
    fn several_arguments_go_by_name_or_in_order() {
        let unnamed = json!({ "type": "array", "prefixItems": [{ "type": "integer" }, { "type": "string" }] });
        assert_eq!(made(&unnamed, false, &["x", "y"], &["1", "2"]).unwrap(), r#"[1,"2"]"#);
        let error = made(&unnamed, false, &["x"], &["1"]).unwrap_err();
        assert!(error.contains("takes 2 arguments; there are: x"), "{error}");
        let named = json!({ "type": "array", "prefixItems": [
            { "type": "integer", "title": "samples" }, { "type": "string", "title": "seed" },
        ]});
        assert_eq!(made(&named, false, &["seed", "samples"], &["1", "2"]).unwrap(), r#"[2,"1"]"#);
        let error = made(&named, false, &["a", "b"], &["1", "2"]).unwrap_err();
        assert!(error.contains("takes samples, seed; there are: a, b"), "{error}");
        let error = made(&named, false, &["seed"], &["1"]).unwrap_err();
        assert!(error.contains("takes samples, seed; there are: seed"), "{error}");
        let optional = json!({ "type": "array", "prefixItems": [
            { "type": "integer", "title": "samples" }, { "type": ["string", "null"], "title": "seed" },
        ]});
        assert_eq!(made(&optional, false, &["samples"], &["7"]).unwrap(), "[7,null]");
    }

    #[test]
    fn points_of_a_grid_adapt_and_are_shown_by_name() {
        let schema = json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "number" }] });
        let names: Arc<[String]> = ["mode".to_owned(), "x".to_owned()].into();
        let mut arguments = Arguments::of(ArgumentCheck::by_schema(&schema), false).shown(true);
        arguments.columns(&names).unwrap();
        let cells = vec![Cell::Value(json!(1)), Cell::Value(json!(0.5))];
        let made = arguments.row(Record::Cells { names, cells }).unwrap();
        assert_eq!(json::from_msgpack(&made.args).unwrap(), r#"["1",0.5]"#);
        assert_eq!(json::from_msgpack(&made.shown.unwrap()).unwrap(), r#"{"mode":"1","x":0.5}"#);
    }

    #[test]
    fn one_value_and_lists() {
        let float = json!({ "type": "number" });
        assert_eq!(made(&float, false, &["x"], &["NaN"]).unwrap(), r#"{"$float":"NaN"}"#);
        assert_eq!(made(&float, false, &["x"], &["-inf"]).unwrap(), r#"{"$float":"-Infinity"}"#);
        assert_eq!(made(&float, false, &["x"], &["99999999999999999999"]).unwrap(), "1e+20");
        assert!(made(&float, false, &["x", "y"], &["1", "2"]).unwrap_err().contains("one value"));
        let list = json!({ "type": "array", "items": { "type": "number" } });
        assert_eq!(made(&list, false, &["x", "y"], &["1", "2.5"]).unwrap(), "[1,2.5]");
        assert_eq!(made(&list, false, &["x"], &["[1, 2]"]).unwrap(), "[1,2]");
        assert!(made(&list, false, &["x"], &["[1, 2"]).unwrap_err().contains("not JSON"));
    }
}
