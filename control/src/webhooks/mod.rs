//! Tells webhooks of events, by [Standard Webhooks](https://www.standardwebhooks.com/).
//!
//! Deliveries wait in the database (`store::deliveries`). The [sender](WebhookSender) takes those that
//! are due, signs them and sends them. Each is sent again until the receiver has taken it, for three days.

mod counters;
mod schedule;
mod sender;
mod signature;
mod sweeper;

pub use counters::{DeliveryCounters, DeliveryOutcome};
pub use sender::{WebhookSender, WebhookSettings, deliver};
pub use signature::WebhookSigner;
pub use sweeper::WebhookSweeper;
