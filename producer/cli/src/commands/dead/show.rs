//! `gristmill dead show`.

use gristmill::shared::{Body, Message};
use gristmill::{Client, DeadTask, Lane};
use serde_json::{Map, Value};

use super::{find, kept_until};
use crate::args::DeadShow;
use crate::exit::Exit;
use crate::said::Said;
use crate::table::object;
use crate::times::rfc3339;
use crate::{certificate, json, sheet};

/// What people are shown of the arguments, in characters, and of what cannot be read, in bytes.
const ARGS_SHOWN: usize = 1_000;
const BYTES_SHOWN: usize = 256;

pub async fn run(client: &Client, args: DeadShow) -> Result<(), Exit> {
    let dead = find(client, &args.id, args.queue.as_ref()).await?;
    let argument = client.dead_argument(&dead).await?;
    sheet::print(&fields(&dead, argument, !args.json), args.json)
}

/// All there is. `argument`: whether the blob of the arguments is still there, if they stand in one.
fn fields(dead: &DeadTask, argument: Option<bool>, for_people: bool) -> Map<String, Value> {
    let epitaph = &dead.letter.epitaph;
    let mut fields = object([
        ("id", dead.id.as_str().into()),
        ("queue", dead.queue.as_str().into()),
        ("kernel", Some(epitaph.kernel.as_str()).filter(|kernel| !kernel.is_empty()).into()),
        ("reason", epitaph.reason.as_str().into()),
    ]);
    if let Some(failure) = &epitaph.failure {
        fields.insert("message".into(), failure.message.as_str().into());
        fields.insert("attempt".into(), failure.attempt.into());
        fields.extend(Said::from(failure).fields(for_people));
    }
    fields.insert("buried_at".into(), rfc3339(dead.letter.at_ms).into());
    fields.insert("kept_until_at".into(), kept_until(dead).into());
    let read = dead.message();
    let whole = matches!(&read, Some((_, Some(_)))) && epitaph.kind().is_some();
    fields.insert("can_be_retried".into(), (whole && argument != Some(false)).into());
    match &read {
        Some((message, body)) => of_message(&mut fields, message, body.as_ref(), argument, for_people),
        None => {
            fields.insert("size_bytes".into(), dead.letter.message.len().into());
            fields.insert("hex".into(), hex(&dead.letter.message).into());
        }
    }
    let failure = epitaph.failure.as_ref();
    let found = failure.and_then(|failure| failure.certificate.as_ref());
    fields.insert("certificate".into(), found.map(|found| certificate::certificate(found, for_people)).into());
    let ends = read.and_then(|(_, body)| body).map(|body| body.history).unwrap_or_default();
    fields.insert("history".into(), certificate::history(&ends, for_people));
    fields
}

fn of_message(
    fields: &mut Map<String, Value>,
    message: &Message,
    body: Option<&Body>,
    argument: Option<bool>,
    for_people: bool,
) {
    let header = &message.header;
    fields.extend(object([
        ("batch", header.batch.to_string().into()),
        ("index", header.first.into()),
        ("crashes", header.crashes.into()),
        ("losses", header.losses.into()),
        ("lane", lane(header.lane).into()),
        ("expires_at", rfc3339(header.expires_at_ms).into()),
    ]));
    let Some(body) = body else {
        fields.insert("size_bytes".into(), message.body.len().into());
        fields.insert("hex".into(), hex(&message.body).into());
        return;
    };
    fields.insert("options".into(), serde_json::to_value(&body.options).unwrap_or_default());
    if let Some(blob) = &body.blob {
        let there = argument.unwrap_or(false);
        fields
            .insert("args_blob".into(), object([("name", blob.name.as_str().into()), ("there", there.into())]).into());
        return;
    }
    let Some(args) = body.args.first() else { return };
    fields.insert("args_bytes".into(), args.len().into());
    fields.insert("args".into(), shown_args(args, for_people));
}

/// The arguments in the forms of the command line. They stand in a message, and so are bounded.
fn shown_args(args: &[u8], for_people: bool) -> Value {
    let Ok(text) = json::from_msgpack(args) else { return format!("(unreadable) {}", hex(args)).into() };
    if !for_people {
        return serde_json::from_str(&text).unwrap_or(Value::String(text));
    }
    let short: String = text.chars().take(ARGS_SHOWN).collect();
    if short.len() < text.len() { format!("{short}…").into() } else { short.into() }
}

fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(BYTES_SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > BYTES_SHOWN { format!("{shown}…") } else { shown }
}

fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::High => "high",
        Lane::Normal => "normal",
        Lane::Low => "low",
    }
}
