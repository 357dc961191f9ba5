//! How long stores are waited for, and which failures are tried again.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::watch;

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

/// Longest wait for one answer, retries included, once the job is asked to stop.
const STOPPING_TIMEOUT: Duration = Duration::from_secs(5);

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

/// The process is asked to stop: what it has to write is written, but a store that does not answer is not waited for.
static STOPPING: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// From now on, requests without an answer are given up after a few seconds. For a process that is asked to stop: its
/// supervisor does not wait as long as retries may take.
pub(crate) fn give_up_soon() {
    STOPPING.send_replace(true);
}

/// Gives up on an answer [`STOPPING_TIMEOUT`] after the process was asked to stop, or after the request was made where
/// that is later.
pub(super) async fn until_stopped<T>(answer: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    let mut stopping = STOPPING.subscribe();
    let patience = async {
        // The sender is never dropped, so this ends by being asked only.
        _ = stopping.wait_for(|&is_stopping| is_stopping).await;
        tokio::time::sleep(STOPPING_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        () = patience => Err(object_store::Error::Generic {
            store: "remote store",
            source: format!("no answer within {} s of being asked to stop", STOPPING_TIMEOUT.as_secs()).into(),
        }),
    }
}

/// Endpoint, region or account make no address.
#[derive(Debug, thiserror::Error)]
#[error("its endpoint, region or account in the environment makes no valid address")]
struct NoAddress;

/// `object_store` panics at a request whose address is none, such as one with a blank in its host. That is an error of the
/// environment; any other panic goes on.
pub(super) async fn fenced<T>(answer: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    let is_address = |panic: &(dyn Any + Send)| {
        let message = panic.downcast_ref::<String>().map_or("", String::as_str);
        !["request must be valid", "InvalidUri"].iter().any(|said| message.contains(said))
    };
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) if is_address(&*panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(object_store::Error::Generic { store: "remote store", source: NoAddress.into() }),
    }
}

/// True for what [`fenced`] makes of an address that is none.
pub(super) fn is_no_address(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { source, .. } if source.is::<NoAddress>())
}
