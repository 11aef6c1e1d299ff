//! Parts of pages that a stream replaces each second.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use nucleus_console::screens::ErrorKind;
use nucleus_console::stream::{event, last_event};
use nucleus_console::{Template, render};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::answer::PageError;
use super::client::ApiRefusal;
use super::live_parts::{LivePart, PartKey};
use super::reader::PageReader;
use super::state::ConsoleState;
use crate::api::{self, Caller, StreamWriter};

/// How often a part is replaced.
const EVERY: Duration = Duration::from_secs(1);
/// The pause before a browser connects again, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// Opens a stream that sends what `make` returns, each second, until the stream ends. `make` may use of the
/// reader no more than the role and the tenant.
///
/// # Errors
///
/// The answer to send: the reader may not read, or there are too many streams.
pub(super) fn open<T, F>(
    state: &ConsoleState,
    caller: Caller,
    reader: &PageReader,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> Result<Response, PageError>
where
    T: Template + Send + 'static,
    F: Future<Output = Result<T, PageError>> + Send + 'static,
{
    open_with(state, caller, reader, None, make)
}

/// As [`open`], for a page of one thing. Once the thing is gone, the stream sends `ended`, and ends for good.
///
/// # Errors
///
/// As those of [`open`].
pub(super) fn open_of_one<T, F>(
    state: &ConsoleState,
    caller: Caller,
    reader: &PageReader,
    ended: &impl Template,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> Result<Response, PageError>
where
    T: Template + Send + 'static,
    F: Future<Output = Result<T, PageError>> + Send + 'static,
{
    open_with(state, caller, reader, Some(last_event(&render(ended)?)), make)
}

fn open_with<T, F>(
    state: &ConsoleState,
    caller: Caller,
    reader: &PageReader,
    last: Option<String>,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> Result<Response, PageError>
where
    T: Template + Send + 'static,
    F: Future<Output = Result<T, PageError>> + Send + 'static,
{
    let viewer = &reader.viewer;
    let key = PartKey {
        source: reader.address.clone(),
        role: viewer.role,
        tenant: viewer.tenant.clone().zip(viewer.tenant_name.clone()),
    };
    let parts = state.parts.clone();
    let opened = api::open_stream(&state.api, caller, |writer| async move {
        let part = parts.watch(key, |newest| tokio::spawn(keep_making(newest, last, make)));
        write(&writer, &part).await;
    });
    opened.map_err(|problem| PageError::from(ApiRefusal::from(problem)))
}

/// Makes a part each second. `last`: with what it ends once the thing is gone; `None`: it waits for the thing.
async fn keep_making<T, F>(
    newest: watch::Sender<Arc<str>>,
    last: Option<String>,
    make: impl Fn() -> F,
) where
    T: Template,
    F: Future<Output = Result<T, PageError>>,
{
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let text = match (make().await, &last) {
            (Ok(part), _) => render(&part).map_or_else(|_| NOTHING.to_owned(), |html| event(&html)),
            (Err(PageError::Kind(ErrorKind::NotFound)), Some(last)) => {
                newest.send_replace(last.as_str().into());
                return;
            }
            // The planes are too busy: the page keeps what it shows.
            (Err(_), _) => NOTHING.to_owned(),
        };
        newest.send_replace(text.into());
    }
}

/// A comment, by which a browser sees that the stream is alive.
const NOTHING: &str = ": nothing\n\n";

async fn write(writer: &StreamWriter, part: &LivePart) {
    let mut newest = part.newest.clone();
    let mut text = format!("retry: {RETRY_MS}\n\n") + &newest.borrow_and_update();
    // A stream that is slow skips the parts in between.
    while writer.send(std::mem::take(&mut text)).await {
        if newest.changed().await.is_err() {
            // This is sent once the connection has taken the last part: what waits at the end is not sent any
            // more.
            writer.send(": the end\n\n".to_owned()).await;
            return;
        }
        text = newest.borrow_and_update().to_string();
    }
}
