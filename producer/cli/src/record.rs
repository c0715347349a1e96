//! How results look on stdout: bare values, `$error` objects, records.

use gristmill::shared::TaskId;
use gristmill::{TaskError, TaskFailure};
use serde_json::{Value, json};

use crate::counted::counted;
use crate::json;
use crate::said::Said;

/// MessagePack's nil.
const NOTHING: u8 = 0xc0;

/// What became of one line of input, or one task.
pub enum Answer {
    /// The MessagePack of its output.
    Value(Vec<u8>),
    /// It succeeded, and nobody wanted its output.
    NotKept,
    /// It has none.
    Error(Failed),
}

impl From<Result<Vec<u8>, TaskError>> for Answer {
    fn from(result: Result<Vec<u8>, TaskError>) -> Self {
        match result {
            Ok(bytes) => Self::Value(bytes),
            Err(TaskError::NotKept(_)) => Self::NotKept,
            Err(error) => Self::Error(error.into()),
        }
    }
}

/// Why there is no output.
pub struct Failed {
    /// The task; none if the line never became one.
    pub task: Option<TaskId>,
    /// One word.
    pub kind: String,
    /// What went wrong.
    pub message: String,
    /// The attempt that ended it.
    pub attempt: Option<u16>,
    /// What its kernel said besides.
    pub said: Said,
}

impl Failed {
    /// An input line that is no value.
    pub fn input(message: String) -> Self {
        Self { task: None, kind: "bad_input".into(), message, attempt: None, said: Said::default() }
    }

    fn to_json(&self) -> Value {
        let id = self.task.map(|task| task.to_string());
        let mut fields = json!({ "id": id, "kind": self.kind, "message": self.message, "attempt": self.attempt });
        if let Some(fields) = fields.as_object_mut() {
            fields.extend(self.said.fields(false));
        }
        fields
    }

    /// What went wrong in one line, for people.
    pub fn line(&self) -> String {
        format!("{}: {}", self.kind, self.message_line())
    }

    /// The same without its kind.
    pub fn message_line(&self) -> String {
        self.said.line(&self.message)
    }
}

impl From<TaskError> for Failed {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Ended(failure) => {
                let said = Said::from(&failure);
                let TaskFailure { task, kind, message, attempt, .. } = failure;
                Self { task: Some(task), kind: kind.to_string(), message, attempt: Some(attempt), said }
            }
            other => {
                let kind = match &other {
                    TaskError::Delivered(_) => "delivered",
                    TaskError::OutputGone(_) => "output_gone",
                    TaskError::Output { .. } => "bad_output",
                    _ => "client",
                };
                Self {
                    task: other.task(),
                    kind: kind.into(),
                    message: other.to_string(),
                    attempt: None,
                    said: Said::default(),
                }
            }
        }
    }
}

/// What people are told of outputs that were not kept, where nothing is printed of them.
pub fn not_kept(count: u64, noun: &str) -> String {
    format!("{} succeeded without an output: it was not kept, as asked for", counted(count, noun))
}

/// Appends the line of one answer: the bare value, or `{"$error": …}`; nothing for an output that was not kept.
pub fn write_bare(out: &mut Vec<u8>, answer: &Answer) {
    match answer {
        Answer::Value(bytes) => write_value(out, bytes),
        Answer::NotKept => return,
        Answer::Error(failed) => out.extend_from_slice(json!({ "$error": failed.to_json() }).to_string().as_bytes()),
    }
    out.push(b'\n');
}

/// Appends the record of one answer: `{"index", "id", "value" | "error" | "kept": false}`; with its arguments, if somebody
/// wants them and they are known.
pub fn write_record_of(
    out: &mut Vec<u8>,
    index: u64,
    id: Option<String>,
    args: Option<Option<&[u8]>>,
    answer: &Answer,
) {
    out.extend_from_slice(format!("{{\"index\":{index},\"id\":{},", Value::from(id)).as_bytes());
    if let Some(args) = args {
        out.extend_from_slice(b"\"args\":");
        write_value(out, args.unwrap_or(&[NOTHING]));
        out.push(b',');
    }
    match answer {
        Answer::Value(bytes) => {
            out.extend_from_slice(b"\"value\":");
            write_value(out, bytes);
        }
        Answer::NotKept => out.extend_from_slice(b"\"kept\":false"),
        Answer::Error(failed) => out.extend_from_slice(format!("\"error\":{}", failed.to_json()).as_bytes()),
    }
    out.extend_from_slice(b"}\n");
}

/// An output that JSON cannot hold is still answered on its own line.
fn write_value(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    if let Err(error) = json::write_json(bytes, out) {
        out.truncate(start);
        let failed = json!({ "$error": { "kind": "bad_output", "message": error.to_string() } });
        out.extend_from_slice(failed.to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill::BatchId;

    #[test]
    fn of_what_was_not_kept_nothing_is_made_up() {
        let batch = BatchId::new();
        let answer = || Answer::from(Err(TaskError::NotKept(batch.task(2))));
        let (mut bare, mut record) = (Vec::new(), Vec::new());
        write_bare(&mut bare, &answer());
        write_record_of(&mut record, 2, Some(batch.task(2).to_string()), None, &answer());
        assert_eq!(bare, b"");
        let expected = format!("{{\"index\":2,\"id\":\"{batch}.2\",\"kept\":false}}\n");
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }
}
