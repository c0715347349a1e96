//! The connection module against a real server.

use std::time::{Duration, Instant};

use gristmill_embedded::{AppendOnly, EmbeddedOptions, EmbeddedRedis};
use gristmill_shared::connection::{
    ConnectionError, Endpoint, Link, Timeouts, connect, connect_blocking_lane, is_connection_lost, is_not_ready,
};

fn endpoint(redis: &EmbeddedRedis) -> Endpoint {
    Endpoint::parse(&redis.url_with_password()).unwrap()
}

fn short() -> Timeouts {
    Timeouts { connect: Duration::from_millis(300), response: Duration::from_millis(300) }
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
}

#[tokio::test]
async fn both_transports_and_both_logins_work() {
    for tcp in [false, true] {
        let redis = EmbeddedOptions::new().requirepass("p@ss/word").tcp(tcp).start().unwrap();
        let mut connection = connect(&endpoint(&redis), &Timeouts::default()).await.unwrap();
        let reply: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
        assert_eq!(reply, "PONG");

        let without = Endpoint::parse(&redis.url()).unwrap();
        let error = connect(&without, &Timeouts::default()).await.unwrap_err();
        assert!(matches!(error, ConnectionError::PasswordNeeded { .. }), "{error}");

        let wrong = redis.url_with_password().replace("word", "wrong");
        let started = Instant::now();
        let mut link = Link::new(Endpoint::parse(&wrong).unwrap(), Timeouts::default());
        let error = link.reach(Duration::from_secs(30)).await.unwrap_err();
        assert!(matches!(error, ConnectionError::WrongPassword { .. }), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10), "a wrong password is final");
    }
}

#[tokio::test]
async fn nobody_there_is_said_plainly() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = Endpoint::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
    let error = connect(&nowhere, &Timeouts::default()).await.unwrap_err().to_string();
    let expected = "connection refused; start it or pass --redis URL";
    assert_eq!(error, format!("cannot reach Redis at redis://127.0.0.1:{port}: {expected}"));
    let error = connect(&Endpoint::parse("redis+unix:///no/such.sock").unwrap(), &Timeouts::default()).await;
    assert!(error.unwrap_err().to_string().contains("there is no such socket"));
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_timeout_only() {
    let redis = EmbeddedRedis::start().unwrap();
    let mut held = connect(&endpoint(&redis), &short()).await.unwrap();
    redis.pause().unwrap();
    let error = connect(&endpoint(&redis), &short()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("no answer"), "{error}");
    let error = redis::cmd("PING").query_async::<()>(&mut held).await.unwrap_err();
    assert!(is_connection_lost(&error), "{error}");
    redis.resume().unwrap();
}

#[tokio::test]
async fn reach_waits_for_a_server_that_comes_back() {
    let mut redis = EmbeddedRedis::start().unwrap();
    let mut link = Link::new(endpoint(&redis), short());
    redis.pause().unwrap();
    let error = link.reach(Duration::from_millis(200)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    redis.kill();
    let reached = tokio::spawn(async move { link.reach(Duration::from_secs(30)).await.map(drop) });
    tokio::task::yield_now().await;
    let restarted = tokio::task::spawn_blocking(move || redis.restart().map(|()| redis)).await.unwrap();
    reached.await.unwrap().unwrap();
    drop(restarted);
}

#[tokio::test]
async fn a_call_is_repeated_on_a_new_connection() {
    let mut redis = EmbeddedOptions::new().appendonly(AppendOnly::Always).start().unwrap();
    let mut link = Link::new(endpoint(&redis), Timeouts::default());
    let mut calls = 0;
    let mut ask = async |link: &mut Link| {
        let lost = |error: &CallError| matches!(error, CallError::Redis(error) if is_connection_lost(error));
        link.retrying(Duration::from_secs(30), lost, |mut connection| {
            calls += 1;
            async move { Ok(redis::cmd("SET").arg("k").arg(1).query_async::<()>(&mut connection).await?) }
        })
        .await
    };
    ask(&mut link).await.unwrap();
    redis.restart().unwrap();
    ask(&mut link).await.unwrap();
    assert_eq!(calls, 3);
}

#[tokio::test]
async fn an_error_of_redis_is_not_repeated() {
    let redis = EmbeddedRedis::start().unwrap();
    let mut link = Link::new(endpoint(&redis), Timeouts::default());
    let mut calls = 0;
    let result: Result<(), CallError> = link
        .retrying(
            Duration::from_secs(30),
            |_| false,
            |mut connection| {
                calls += 1;
                async move { Ok(redis::cmd("NONSENSE").query_async(&mut connection).await?) }
            },
        )
        .await;
    assert!(matches!(result, Err(CallError::Redis(_))));
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn the_blocking_lane_waits_longer_than_other_calls() {
    let redis = EmbeddedRedis::start().unwrap();
    let block = Duration::from_millis(600);
    let mut lane = connect_blocking_lane(&endpoint(&redis), &short(), block).await.unwrap();
    let popped: Option<(String, String)> =
        redis::cmd("BLPOP").arg("k").arg(block.as_secs_f64()).query_async(&mut lane).await.unwrap();
    assert_eq!(popped, None);
}

#[tokio::test]
async fn a_busy_server_is_one_to_wait_for_also_inside_a_pipeline() {
    let redis = EmbeddedOptions::new().extra("lua-time-limit", "1").start().unwrap();
    let mut busy = connect(&endpoint(&redis), &Timeouts::default()).await.unwrap();
    let mut other = connect(&endpoint(&redis), &Timeouts::default()).await.unwrap();
    let endless =
        tokio::spawn(
            async move { redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<()>(&mut busy).await },
        );
    let error = loop {
        let answer = redis::pipe().get("a").get("b").query_async::<(Option<u8>, Option<u8>)>(&mut other).await;
        if let Err(error) = answer {
            break error;
        }
    };
    assert!(is_not_ready(&error), "{error}");
    let error = ConnectionError::of(&endpoint(&redis), &error);
    assert!(error.is_retryable() && error.to_string().contains("busy running a script"), "{error}");
    let _: () = redis::cmd("SCRIPT").arg("KILL").query_async(&mut other).await.unwrap();
    assert!(endless.await.unwrap().is_err());
}
