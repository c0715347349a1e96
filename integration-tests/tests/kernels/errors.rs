use gristmill::SubmitOptions;
use gristmill_integration_tests::Cli;
use serde_json::Value;

use crate::{client, failure, mill};

#[tokio::test]
async fn an_error_arrives_with_all_that_it_says() {
    let mill = mill().start().unwrap();
    let client = client(&mill).await;
    let chain = failure(&client, "fails", ("chain", 0)).await;
    assert_eq!(chain.message, "cannot load the table");
    assert_eq!(chain.chain(), ["invalid digit found in string"]);
    assert_eq!((chain.kind_name(), chain.place()), (Some("stateful_worker::Load"), None));
    assert!(chain.to_string().contains("failed: cannot load the table: invalid digit found in string"), "{chain}");
    let panic = failure(&client, "fails", ("panic", 0)).await;
    assert_eq!((panic.message.as_str(), panic.kind_name()), ("panicked: on purpose", Some("panic")));
    assert!(panic.place().is_some_and(|place| place.contains("src/bin/stateful-worker.rs:")), "{panic:?}");
    assert!(panic.to_string().contains("(at "), "{panic}");
    let details = failure(&client, "fails", ("details", 10_000)).await;
    assert_eq!((details.message.as_str(), details.kind_name()), ("exit status 3", Some("exit")));
    let (code, text): (i32, String) = details.details().unwrap().unwrap();
    assert_eq!((code, text.len()), (3, 10_000));
    mill.stop().unwrap();
}

#[tokio::test]
async fn details_of_many_failures_are_all_kept() {
    let mill = mill().start().unwrap();
    let client = client(&mill).await;
    // Chunks of them would not fit into one call.
    let args = (0..300).map(|_| ("details", 12_000));
    let mut map = client.map_dyn::<(), _>("fails", args, &SubmitOptions::new()).await.unwrap();
    while let Some(result) = map.next().await {
        let Err(gristmill::TaskError::Ended(failed)) = result else { panic!("it fails") };
        assert!(failed.details_bytes().is_some_and(|bytes| bytes.len() > 12_000), "{failed}");
    }
    mill.stop().unwrap();
}

#[tokio::test]
async fn the_command_line_shows_all_that_an_error_says() {
    let mill = mill().start().unwrap();
    let cli = Cli::at(&mill.url());
    let client = client(&mill).await;
    let failed = failure(&client, "fails", ("details", 5)).await;
    let id = failed.task.to_string();
    let expected = serde_json::json!({ "error_kind": "exit", "details": [3, "ooooo"], "message": "exit status 3" });
    for command in [&["status"][..], &["dead", "show"], &["dead", "list"]] {
        let mut words = command.to_vec();
        if command != ["dead", "list"] {
            words.push(&id);
        }
        words.push("--json");
        let found: Value = serde_json::from_str(&cli.run(&words).ok()).unwrap();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&found[0][name], value, "{command:?}: {found}");
        }
    }
    let line = cli.run_with(&["map", "fails"], "[\"chain\", 0]\n").stdout;
    let line: Value = serde_json::from_str(&line).unwrap();
    let error = &line["$error"];
    assert_eq!((&error["message"], &error["kind"]), (&"cannot load the table".into(), &"failed".into()), "{error}");
    assert_eq!(error["chain"][0], "invalid digit found in string");
    assert_eq!(error["error_kind"], "stateful_worker::Load");
    assert!(error.get("place").is_none() && error.get("details").is_none(), "{error}");
    mill.stop().unwrap();
}
