//! Deletes what webhooks were told: of webhooks that were deleted, and what is too much. Each step is short,
//! so that others hardly wait.

use std::sync::Arc;
use std::time::Duration;

use super::WebhookSettings;
use crate::store::{StoreError, deliveries, webhooks};

/// Time from one sweep to the next.
const EVERY: Duration = Duration::from_secs(60);
/// Pause between two transactions, in which others have their turn.
const PAUSE: Duration = Duration::from_millis(50);
/// Microseconds from the deletion of a webhook to that of its row. No transaction takes so long: none that
/// knows the webhook still writes deliveries for it.
const GRACE: i64 = 60_000_000;

/// Deletes deliveries of webhooks that were deleted, and those that are too many.
pub struct WebhookSweeper {
    settings: Arc<WebhookSettings>,
}

impl WebhookSweeper {
    /// Makes a sweeper.
    pub fn new(settings: Arc<WebhookSettings>) -> Self {
        Self { settings }
    }

    /// Sweeps once a minute. Never returns.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "deliveries to webhooks cannot be deleted yet");
            }
        }
    }

    /// Deletes everything that may go now. A webhook whose deliveries cannot be deleted keeps none of the
    /// others.
    ///
    /// # Errors
    ///
    /// The last one, if there was any. What was deleted before stays deleted.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let database = &self.settings.database;
        let now = (self.settings.now)().micros();
        let mut result = Ok(());
        for webhook in webhooks::deleted(database).await? {
            let is_over = now.saturating_sub(webhook.deleted_at.micros()) >= GRACE;
            let swept = self.sweep_deleted(&webhook.id, is_over).await;
            result = swept.and(result);
        }
        for webhook in webhooks::ids(database).await? {
            let swept = self.sweep_surplus(&webhook).await;
            result = swept.and(result);
        }
        result
    }

    async fn sweep_deleted(&self, webhook: &str, is_over: bool) -> Result<(), StoreError> {
        while deliveries::delete_all(&self.settings.database, webhook).await? {
            tokio::time::sleep(PAUSE).await;
        }
        if is_over {
            webhooks::remove(&self.settings.database, webhook).await?;
        }
        Ok(())
    }

    async fn sweep_surplus(&self, webhook: &str) -> Result<(), StoreError> {
        let database = &self.settings.database;
        let Some(last) = deliveries::newest_of_too_many(database, webhook).await? else {
            return Ok(());
        };
        while deliveries::delete_done(database, webhook, &last).await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
