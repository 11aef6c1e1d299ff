//! Tells webhooks of events, by [Standard Webhooks](https://www.standardwebhooks.com/).
//!
//! Deliveries wait in the database (`store::deliveries`). The [sender](WebhookSender) takes those that
//! are due, signs them and sends them, each until it is taken or given up after three days.

mod schedule;
mod sender;
mod signature;

pub use sender::{
    DeliveryCounters, DeliveryOutcome, TriedDelivery, WebhookSender, WebhookSettings, deliver,
};
pub use signature::WebhookSigner;
