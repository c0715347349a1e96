//! The recipes in Rust.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use gristmill::{Client, SubmitOptions, TaskError};
use gristmill_kernels::{Hits, monte_carlo_pi, sum_sqrt, word_count};

use crate::{Outcome, Scene};

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn estimate_pi(client: &Client) -> Result<f64, TaskError> {
    let parts = (0..100).map(|seed| (10_000, seed));
    let merged = client.map_unordered(monte_carlo_pi, parts).await?.fold(Hits { samples: 0, hits: 0 }, |sum, part| {
        Hits { samples: sum.samples + part.samples, hits: sum.hits + part.hits }
    });
    Ok(merged.await?.pi())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monte_carlo() -> Outcome {
    let scene = Scene::start().await;
    let pi = estimate_pi(&scene.client).await?;
    assert!((pi - std::f64::consts::PI).abs() < 0.01, "{pi}");
    Ok(())
}

async fn count_words(client: &Client, path: &str) -> Result<BTreeMap<String, u64>, Failed> {
    let lines = BufReader::new(File::open(path)?).lines();
    let mut counts = client.try_map(word_count, lines).await?.unordered();
    let mut total = BTreeMap::new();
    while let Some((_, counted)) = counts.next().await {
        for (word, count) in counted? {
            *total.entry(word).or_default() += count;
        }
    }
    Ok(total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline() -> Outcome {
    let scene = Scene::start().await;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("book.txt").display().to_string();
    std::fs::write(&path, "to be or not to be\n".repeat(20_000))?;
    let counts = count_words(&scene.client, &path).await?;
    assert_eq!((counts["to"], counts["or"]), (40_000, 20_000));
    assert!(count_words(&scene.client, "/nowhere").await.is_err());
    Ok(())
}

/// Somebody waits: an answer soon, or none.
async fn answer(client: &Client, n: u64) -> Result<f64, TaskError> {
    let handle = client.submit(sum_sqrt, n).await?;
    let result = handle.result_timeout(Duration::from_secs(2)).await;
    if matches!(result, Err(TaskError::Timeout { .. })) {
        handle.cancel().await?;
    }
    result
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn async_code_around_it() -> Outcome {
    let scene = Scene::start().await;
    let client = &scene.client;
    let (four, nine) = tokio::try_join!(answer(client, 4), answer(client, 9))?;
    assert!(four < nine);
    let nobody = client.with(SubmitOptions::new().queue("nobody".parse()?));
    assert!(matches!(answer(&nobody, 4).await, Err(TaskError::Timeout { .. })), "nobody serves that queue");
    Ok(())
}
