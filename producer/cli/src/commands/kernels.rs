//! `gristmill kernels`.

use serde_json::Value;

use crate::args::{Global, Listing};
use crate::exit::Exit;
use crate::session;
use crate::table::{Table, object};
use crate::times::rfc3339;

pub async fn run(global: &Global, args: Listing) -> Result<(), Exit> {
    let client = session::connect(global).await?;
    let mut table = Table::new(&[("KERNEL", "kernel"), ("LAST SEEN", "last_seen_at"), ("ABOUT", "about")]);
    for kernel in client.kernels().await? {
        // Published by whichever worker: what it cannot say is shown as nothing.
        let info: Value = serde_json::from_str(&kernel.info).unwrap_or_default();
        let doc = info.get("doc").and_then(Value::as_str).unwrap_or_default();
        let about = doc.lines().next().unwrap_or_default();
        let mut row = object([
            ("kernel", kernel.name.to_string().into()),
            ("last_seen_at", rfc3339(kernel.last_seen_ms).into()),
            ("doc", doc.into()),
            ("args_schema", info.get("args_schema").cloned().unwrap_or_default()),
            ("options", info.get("options").cloned().unwrap_or_default()),
        ]);
        if !args.json {
            row.insert("about".into(), about.into());
        }
        table.row(row);
    }
    table.print(args.json, "no worker has offered a kernel yet")
}
