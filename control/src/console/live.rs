//! Parts of pages that a stream replaces each second.

use std::time::Duration;

use axum::response::Response;
use nucleus_console::stream::event;
use nucleus_console::{Template, render};
use tokio::time::{MissedTickBehavior, interval};

use super::answer::PageError;
use super::client::ApiRefusal;
use super::state::ConsoleState;
use crate::api::{self, Caller, StreamWriter};

/// How often a part is replaced.
const EVERY: Duration = Duration::from_secs(1);
/// The pause before a browser connects again, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// Opens a stream that sends what `make` returns, each second, until it fails or the stream ends.
///
/// # Errors
///
/// The answer to send: the reader may not read, or there are too many streams.
pub(super) fn open<T, F>(
    state: &ConsoleState,
    caller: Caller,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> Result<Response, PageError>
where
    T: Template + Send + 'static,
    F: Future<Output = Result<T, PageError>> + Send + 'static,
{
    let opened = api::open_stream(&state.api, caller, |writer| async move {
        write(&writer, make).await;
    });
    opened.map_err(|problem| PageError::from(ApiRefusal::from(problem)))
}

async fn write<T, F>(writer: &StreamWriter, make: impl Fn() -> F)
where
    T: Template,
    F: Future<Output = Result<T, PageError>>,
{
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut text = format!("retry: {RETRY_MS}\n\n");
    while writer.send(std::mem::take(&mut text)).await {
        ticks.tick().await;
        // What the page shows is gone, or the planes are too busy: the page keeps what it shows.
        let Ok(part) = make().await else {
            text.push_str(": nothing\n\n");
            continue;
        };
        let Ok(html) = render(&part) else { return };
        text = event(&html);
    }
}
