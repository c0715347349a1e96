//! What one worker cannot run waits for another that can.

use gristmill::SubmitOptions;
use gristmill_integration_tests::{Redis, WorkerOptions, eventually};
use gristmill_kernels::test_kernels::spin;

/// Too long for two of them to be claimed at once.
const SPIN_MS: u64 = 30;
const MESSAGES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_consumer_empties_a_parked_list_without_pauses() {
    let mut redis = Redis::start();
    let _stranger = WorkerOptions::new().consumers(1).start(&redis);
    let client = redis.client().await;
    let one_each = SubmitOptions::new().chunk(1);
    let batch = client.map_with(spin, vec![SPIN_MS; MESSAGES], &one_each).await.unwrap().detach().await.unwrap();
    eventually("all is parked", || (redis.command::<usize>("LLEN {gm}:parked:default:spin") == MESSAGES).then_some(()));
    let _friend = WorkerOptions::new().consumers(1).test_kernels().start(&redis);
    // Looking into the list every 5 s, once for each message, would take minutes.
    assert_eq!(crate::results::<()>(&client, batch).await.len(), MESSAGES);
    assert_eq!(redis.command::<u64>("HGET {gm}:queue:default parked_tasks"), 0);
}
