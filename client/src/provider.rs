//! [`TokenProvider`]: where a client gets fresh tokens.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::token;

/// Longest time for the first token: a person waits.
const FIRST_TOKEN: Duration = Duration::from_secs(10);

/// Longest time for a later token: a backend that is slower has failed, and may be asked again.
const LATER_TOKEN: Duration = Duration::from_secs(30);

type Provided = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// A function of the application that returns a fresh token of the same user.
#[derive(Clone)]
pub(crate) struct TokenProvider(Arc<dyn Fn() -> Provided + Send + Sync>);

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProvider")
    }
}

impl TokenProvider {
    pub(crate) fn new<F>(provide: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(provide())))
    }

    /// Asks for the first token. Takes at most [`FIRST_TOKEN`]. A provider that panics provides
    /// nothing.
    pub(crate) async fn first(&self) -> Option<String> {
        let provided = tokio::time::timeout(FIRST_TOKEN, self.ask()).await;
        provided.ok()?.ok()?.map(|provided| token::trimmed(&provided))
    }

    /// Calls the provider in a task of its own, which catches its panics.
    fn ask(&self) -> JoinHandle<Option<String>> {
        let provide = self.0.clone();
        tokio::spawn(async move { provide().await })
    }

    /// Asks for a token in a task of its own, and passes it to `take`. A provider that panics
    /// provides nothing, and so does one that takes longer than [`LATER_TOKEN`], or whose text cannot
    /// be a token.
    pub(crate) fn provide(&self, take: impl FnOnce(Option<String>) + Send + 'static) {
        let provided = tokio::time::timeout(LATER_TOKEN, self.ask());
        tokio::spawn(async move {
            let provided = provided.await.ok().and_then(Result::ok).flatten();
            let provided = provided.map(|provided| token::trimmed(&provided));
            take(provided.filter(|provided| token::problem(provided).is_none()));
        });
    }
}
