//! The task of a social session: drives the session.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nucleus_client_core::session::JoinError;
use nucleus_client_core::social::{SocialClient, SocialOutput};

use super::Social;
use crate::provider::TokenProvider;
use crate::session::{ConnectError, CurrentEndpoint, DriverStep, SessionDriver};

/// The state of the task.
pub(super) struct SocialTask {
    pub(super) driver: SessionDriver<SocialClient>,
    pub(super) provider: Option<TokenProvider>,
    /// The endpoint of the newest session; `None` before the first one.
    pub(super) endpoint: Option<CurrentEndpoint>,
}

impl SocialTask {
    /// Drives the client until it has entered, then in a task of its own.
    pub(super) async fn enter(mut self) -> Result<Social, ConnectError> {
        loop {
            if !self.step().await {
                let failure = self.driver.client().read().take_failure();
                let closed = JoinError::Connection("the session was closed".to_owned());
                return Err(failure.unwrap_or(closed).into());
            }
            let client = self.driver.client().clone();
            let Some(entered) = client.read().entered().cloned() else { continue };
            let Some(endpoint) = self.endpoint.clone() else { continue };
            tokio::spawn(async move { while self.step().await {} });
            return Ok(Social {
                endpoint,
                client,
                user: String::from_utf8_lossy(&entered.user).into_owned(),
                ring_time: Duration::from_millis(entered.ring_ms.into()),
                is_over: AtomicBool::new(false),
            });
        }
    }

    /// Returns whether the client is not closed.
    async fn step(&mut self) -> bool {
        match self.driver.step().await {
            DriverStep::Output(SocialOutput::TokenWanted) => {
                if let Some(provider) = &self.provider {
                    let client = self.driver.client().clone();
                    provider.provide(move |token| {
                        client.change(|client, now| client.take_token(now, token));
                    });
                }
            }
            DriverStep::Progress => {
                if let Some(newest) = self.driver.endpoint().cloned() {
                    match &self.endpoint {
                        Some(endpoint) => endpoint.set(newest),
                        None => self.endpoint = Some(CurrentEndpoint::new(newest)),
                    }
                }
            }
            DriverStep::Closed => return false,
        }
        true
    }
}
