//! [`TokenProvider`]: where a client gets fresh tokens.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::token;

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

    /// Asks for the first token.
    pub(crate) async fn first(&self) -> Option<String> {
        (self.0)().await.map(|provided| token::trimmed(&provided))
    }

    /// Asks for a token in a task of its own, and passes it to `take`. A provider that panics
    /// provides nothing.
    pub(crate) fn provide(&self, take: impl FnOnce(Option<String>) + Send + 'static) {
        let provided = tokio::spawn((self.0)());
        tokio::spawn(async move {
            let provided = provided.await.ok().flatten();
            take(provided.map(|provided| token::trimmed(&provided)));
        });
    }
}
