//! How long stores are waited for, and which failures are tried again.

use std::future::Future;
use std::time::{Duration, Instant};

use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};

use super::error::refusal;

/// Longest wait for one answer of a store, retries included: a dead endpoint is an error after this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(18);
/// No retry starts later than this after the first attempt of a request.
const RETRY_TIMEOUT: Duration = Duration::from_secs(8);
/// Attempts at what `object_store` gave up or does not repeat by itself.
const ATTEMPTS: u32 = 5;
/// Pause before the first of them; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// Timeouts of one attempt. `Timeout` bounds a whole download, so it is long; `ReadTimeout` is what notices silence.
pub(super) const CLIENT_TIMEOUTS: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "4 seconds"),
    (ClientConfigKey::ReadTimeout, "8 seconds"),
    (ClientConfigKey::Timeout, "1 hour"),
];

/// Retries of single requests within `object_store`: answers of 5xx, connections that broke.
pub(super) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// Gives up on an answer that takes longer than [`ANSWER_TIMEOUT`]: the retries bound single requests only, not the
/// search for credentials before them.
pub(super) async fn bounded<T>(answer: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(object_store::Error::Generic {
            store: "remote store",
            source: format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()).into(),
        }),
    }
}

/// Repeats what may be repeated while it fails for a reason that may pass. `object_store` repeats requests by itself,
/// but not all: no write that a store answers with 409, no conditional write whose reply is lost, no answer that breaks
/// off in its body.
pub(super) async fn persistently<T, F>(mut attempt: impl FnMut() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let begun = Instant::now();
    let mut number = 1;
    loop {
        match attempt().await {
            Err(error) if may_pass(&error) && number < ATTEMPTS && begun.elapsed() < RETRY_TIMEOUT => {
                let pause = PAUSE * 2u32.pow(number - 1);
                tracing::debug!(number, pause_ms = pause.as_millis() as u64, "a request to the store is repeated");
                tokio::time::sleep(pause).await;
                number += 1;
            }
            answer => return answer,
        }
    }
}

/// True for failures that say nothing about the request itself. A 409 is one of them: another write of the same object
/// was on its way.
fn may_pass(error: &object_store::Error) -> bool {
    let passes = matches!(error, object_store::Error::Generic { .. } | object_store::Error::AlreadyExists { .. });
    passes && refusal(error).is_none()
}
