//! Large arguments and outputs: nobody sees that they travel in blobs.

use futures::StreamExt;
use gristmill::{Bytes, ClientError, OutcomeKind, SubmitOptions};
use gristmill_integration_tests::{Cli, Redis, WorkerOptions, eventually};
use gristmill_kernels::test_kernels::large;
use gristmill_shared::defaults::BLOB_BYTES_MAX;

use crate::{MIB, ended, noise};

/// Of every size there is: in messages, in chunks, in one part, in several.
const SIZES: [usize; 9] = [0, 10, 20 * MIB, 1_000, 70_000, 9 * MIB, 10, 48_000, 65_537];

fn items() -> Vec<Bytes> {
    let all = noise(20 * MIB);
    SIZES.iter().map(|&size| Bytes(all[..size].to_vec())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_and_outputs_of_all_sizes_come_back_equal() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(2).start(&redis);
    let client = redis.client().await;
    let (items, options) = (items(), SubmitOptions::new().chunk(3));
    let one = client.submit_dyn::<Bytes>("echo", &items[2], &options).await.unwrap();
    assert!(one.result().await.unwrap() == items[2], "submit");
    let map = client.map_dyn::<Bytes, _>("echo", items.clone(), &options).await.unwrap();
    assert!(map.collect().await.unwrap() == items, "map");
    let mut seen = 0;
    let mut map = client.map_dyn::<Bytes, _>("echo", items.clone(), &options).await.unwrap().unordered();
    while let Some((index, output)) = map.next().await {
        assert!(output.unwrap() == items[index as usize], "unordered: {index}");
        seen += 1;
    }
    assert_eq!(seen, items.len());
    let map = client.map_dyn::<Bytes, _>("echo", items.clone(), &options).await.unwrap();
    let batch = client.batch(map.detach().await.unwrap());
    assert!(batch.collect::<Bytes>().await.unwrap() == items, "results of a batch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_takes_and_prints_them() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(2).test_kernels().start(&redis);
    let cli = Cli::new(&redis);
    let text = "ab".repeat(10 * MIB);
    let line = format!("\"{text}\"\n");
    let input = format!("7\n{line}null\n");
    assert!(cli.run_with(&["map", "echo"], &input).ok() == input, "map");
    assert!(cli.run_with(&["submit", "echo", "-", "--wait"], &line).ok() == line, "submit");
    let refused = cli.run(&["submit", "large", &(BLOB_BYTES_MAX + 1).to_string(), "--wait"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("the limit is {BLOB_BYTES_MAX}")), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_above_the_limit_is_refused_with_its_size() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().test_kernels().start(&redis);
    let client = redis.client().await;
    let much = Bytes(vec![0; BLOB_BYTES_MAX + 1]);
    let says = |text: &str| {
        let bytes = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
        let bytes: Vec<_> = bytes.filter(|&number| number >= BLOB_BYTES_MAX).collect();
        assert!(bytes.len() >= 2 && bytes.contains(&BLOB_BYTES_MAX), "size and limit: {text}");
    };
    let refused = client.submit_dyn::<Bytes>("echo", &much, &SubmitOptions::new()).await.err().unwrap();
    assert!(matches!(refused, ClientError::Codec(_)), "{refused}");
    says(&refused.to_string());
    let small = Bytes(vec![1]);
    let mut map = client.map_dyn::<Bytes, _>("echo", vec![small, much], &SubmitOptions::new()).await.unwrap();
    let mut error = None;
    while let Some(item) = map.next().await {
        error = item.err().or(error);
    }
    says(&error.expect("the second is too large").to_string());
    let failure = ended(client.submit(large, BLOB_BYTES_MAX as u64 + 1).await.unwrap().result().await);
    assert_eq!((failure.kind, failure.attempt), (OutcomeKind::Failed, 1));
    says(&failure.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_few_of_them_in_memory() {
    let redis = Redis::start();
    let _worker = WorkerOptions::new().consumers(2).test_kernels().start(&redis);
    let client = redis.client().await;
    let (size, tasks) = (8 * MIB as u64, 12);
    let map = client.map(large, vec![size; tasks]).await.unwrap();
    let batch = map.id();
    let mut map = map.unordered();
    map.next().await.unwrap().1.unwrap();
    while client.batch_record(batch).await.unwrap().unwrap().ended() < tasks as u64 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The one that was read, those for which there is room, and one that waits for room.
    let most = 1 + 4 + 1;
    eventually("the others wait", || (map.summary().ended() >= most).then_some(()));
    assert_eq!(map.summary().ended(), most);
    let rest = map.map(|(_, output)| output.unwrap().0.len() as u64).collect::<Vec<_>>().await;
    assert_eq!(rest, [size; 11]);
}
