//! Sends what is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::WebhookSigner;
use super::schedule::next_try;
use crate::database::Database;
use crate::fetch::{Fetch, FetchError, Fetched, fetch};
use crate::store::{
    Actor, AuditedChange, DeliveryPlaces, StoreError, Webhook, WebhookDelivery, deliveries,
    webhooks,
};
use crate::timestamp::Timestamp;

/// Longest time for an answer, as Standard Webhooks recommends it.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Most bytes of an answer. Its body says nothing to this server.
const MAX_ANSWER: usize = 64 << 10;
/// How often the database is asked for deliveries that have become due, or that another server has
/// recorded.
const POLL: Duration = Duration::from_secs(1);
/// Most webhooks that are told at the same time.
const AT_ONCE: usize = 16;
/// Most webhooks of one tenant that are told at the same time: slow ones leave places for others. The whole
/// server may have eight, and needs no such limit.
const AT_ONCE_OF_TENANT: usize = 4;
/// Longest time for which a webhook is told in one go, and the time of one more answer. Then it is the turn
/// of the others.
const TURN: Duration = Duration::from_secs(15);
/// Deliveries that are taken from the database at a time.
const BATCH: u32 = 20;
/// Longest time for which deliveries are taken: that of a batch in which every answer is late, and a
/// minute for the database.
const CLAIM: Duration = Duration::from_secs(BATCH as u64 * ANSWER_TIME.as_secs() + 60);
/// The pause after a webhook did not answer at all, doubled each time, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// What a sender is made of.
pub struct WebhookSettings {
    /// The database.
    pub database: Database,
    /// Signs the deliveries.
    pub signer: WebhookSigner,
    /// Whether the addresses of tenants' webhooks may be inside this network.
    pub private_addresses: bool,
    /// Returns the time of day.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Notified when there are new deliveries.
    pub wake: Arc<Notify>,
    /// Counts what came of deliveries.
    pub counters: Arc<DeliveryCounters>,
    /// How many further deliveries may wait.
    pub places: Arc<DeliveryPlaces>,
}

/// What came of deliveries since the start.
#[derive(Debug, Default)]
pub struct DeliveryCounters([AtomicU64; 5]);

/// What came of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver has taken it.
    Delivered,
    /// The try has failed, and there will be another one.
    Retried,
    /// The last try has failed, or the receiver is gone for good.
    GivenUp,
    /// Too many deliveries of the webhook waited.
    Overflowed,
    /// It waited until it was too old, and was deleted: its webhook is off, or no server can sign for it.
    Expired,
}

impl DeliveryOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] =
        [Self::Delivered, Self::Retried, Self::GivenUp, Self::Overflowed, Self::Expired];

    /// Returns the name in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::GivenUp => "given_up",
            Self::Overflowed => "overflowed",
            Self::Expired => "expired",
        }
    }
}

impl DeliveryCounters {
    /// Counts deliveries.
    pub fn add(&self, outcome: DeliveryOutcome, count: u64) {
        self.0[outcome as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the number of deliveries with an outcome.
    pub fn get(&self, outcome: DeliveryOutcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}

/// Sends deliveries to webhooks.
pub struct WebhookSender {
    settings: Arc<WebhookSettings>,
    /// Webhooks that are being told, with their tenants.
    busy: HashMap<String, Option<String>>,
    /// When webhooks that have more to be told were told last, by the number of the turn.
    last_turns: HashMap<String, u64>,
    turns: u64,
    /// Webhooks that did not answer: how often in a row, and until when they are left alone.
    silent: HashMap<String, (u32, Instant)>,
}

/// The outcome of one turn of a webhook.
struct Told {
    webhook: String,
    /// Whether it has answered, be it with an error, and so has the database.
    has_answered: bool,
}

impl WebhookSender {
    /// Makes a sender.
    pub fn new(settings: Arc<WebhookSettings>) -> Self {
        Self {
            settings,
            busy: HashMap::new(),
            last_turns: HashMap::new(),
            turns: 0,
            silent: HashMap::new(),
        }
    }

    /// Sends what is due. Never returns.
    pub async fn run(mut self) {
        let mut telling = JoinSet::new();
        loop {
            if let Err(error) = self.start(&mut telling).await {
                tracing::debug!(%error, "the database does not say what webhooks are to be told");
            }
            let wake = self.settings.wake.clone();
            tokio::select! {
                Some(told) = telling.join_next() => match told {
                    Ok(told) => self.note(told),
                    // A task that panicked: its webhook is told again.
                    Err(_) => self.busy.clear(),
                },
                () = wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Begins to tell webhooks that have something due.
    async fn start(&mut self, telling: &mut JoinSet<Told>) -> Result<(), StoreError> {
        if telling.len() >= AT_ONCE {
            return Ok(());
        }
        let WebhookSettings { database, signer, now, .. } = &*self.settings;
        let mut due = webhooks::with_due(database, signer.name(), now()).await?;
        self.last_turns.retain(|id, _| due.iter().any(|webhook| webhook.id == *id));
        due.sort_by_key(|webhook| self.last_turns.get(&webhook.id).copied());
        self.silent.retain(|id, (_, until)| {
            // Long after its pause, a webhook without anything due is forgotten.
            until.elapsed() < LONGEST_PAUSE || due.iter().any(|webhook| webhook.id == *id)
        });
        let clock = Instant::now();
        for webhook in due {
            let is_paused = self.silent.get(&webhook.id).is_some_and(|(_, until)| clock < *until);
            let of_tenant = self.busy.values().filter(|tenant| **tenant == webhook.tenant).count();
            let is_share_used = webhook.tenant.is_some() && of_tenant >= AT_ONCE_OF_TENANT;
            let is_full = telling.len() >= AT_ONCE || is_share_used;
            if is_full || is_paused || self.busy.contains_key(&webhook.id) {
                continue;
            }
            self.busy.insert(webhook.id.clone(), webhook.tenant.clone());
            self.turns += 1;
            self.last_turns.insert(webhook.id.clone(), self.turns);
            telling.spawn(tell(self.settings.clone(), webhook));
        }
        Ok(())
    }

    fn note(&mut self, told: Told) {
        self.busy.remove(&told.webhook);
        if told.has_answered {
            self.silent.remove(&told.webhook);
            return;
        }
        let (times, until) = self.silent.entry(told.webhook).or_insert((0, Instant::now()));
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(*times);
        *times = (*times + 1).min(16);
        *until = Instant::now() + pause.min(LONGEST_PAUSE);
    }
}

/// Tells a webhook a batch of what is due.
async fn tell(settings: Arc<WebhookSettings>, webhook: Webhook) -> Told {
    let mut told = Told { webhook: webhook.id.clone(), has_answered: true };
    let now = (settings.now)();
    let until = Timestamp::from_seconds(now.seconds().saturating_add(CLAIM.as_secs()));
    let claimed = deliveries::claim(&settings.database, &webhook.id, now, until, BATCH).await;
    let claimed = match claimed {
        Ok(claimed) => claimed,
        Err(error) => {
            tracing::debug!(%error, "deliveries to a webhook cannot be taken");
            told.has_answered = false;
            return told;
        }
    };
    let start = Instant::now();
    for (index, delivery) in claimed.iter().enumerate() {
        // It may have been switched off or deleted meanwhile.
        let newest = webhooks::get(&settings.database, None, &webhook.id).await;
        let is_on = newest.is_ok_and(|newest| newest.on);
        if !is_on || start.elapsed() >= TURN {
            // If the database does not answer, they are due again when their claim ends.
            let _late = deliveries::release(&settings.database, &claimed[index..], now).await;
            break;
        }
        match deliver(&settings, &webhook, delivery.clone()).await {
            Some(tried) if tried.is_gone => break,
            Some(tried) if tried.has_answered => {}
            _ => {
                told.has_answered = false;
                let rest = &claimed[index + 1..];
                let _late = deliveries::release(&settings.database, rest, now).await;
                break;
            }
        }
    }
    told
}

/// A delivery after a try.
#[derive(Clone, Debug)]
pub struct TriedDelivery {
    /// The delivery.
    pub delivery: WebhookDelivery,
    /// Whether the receiver has answered, be it with an error.
    pub has_answered: bool,
    /// Whether the receiver wants no more, so that the webhook is off.
    pub is_gone: bool,
}

/// Sends a delivery, and writes down what came of it. `None`: the database does not answer, and it will be
/// sent again.
pub async fn deliver(
    settings: &WebhookSettings,
    webhook: &Webhook,
    mut delivery: WebhookDelivery,
) -> Option<TriedDelivery> {
    let now = (settings.now)();
    let headers = settings.signer.headers(&webhook.id, &delivery.event, now, &delivery.body);
    let request = Fetch {
        method: "POST",
        url: &webhook.url,
        headers: &headers,
        body: delivery.body.clone().into_bytes(),
        time: ANSWER_TIME,
        max_answer: MAX_ANSWER,
        public_only: webhook.tenant.is_some() && !settings.private_addresses,
    };
    let (answer, text) = read_answer(webhook, fetch(request).await);
    let now = (settings.now)();
    delivery.tries = delivery.tries.saturating_add(1);
    delivery.answer = Some(text);
    delivery.delivered_at = (answer == ReceiverAnswer::Taken).then_some(now);
    delivery.next_at = match answer {
        ReceiverAnswer::Taken | ReceiverAnswer::Gone => None,
        ReceiverAnswer::Refused | ReceiverAnswer::Silent => {
            next_try(delivery.tries, now, &delivery.id)
        }
    };
    let outcome = match (delivery.delivered_at, delivery.next_at) {
        (Some(_), _) => DeliveryOutcome::Delivered,
        (None, Some(_)) => DeliveryOutcome::Retried,
        (None, None) => DeliveryOutcome::GivenUp,
    };
    let noted = deliveries::note_try(&settings.database, &delivery).await;
    if answer == ReceiverAnswer::Gone
        && let Err(error) = switch_off(settings, webhook, now).await
    {
        tracing::warn!(%error, webhook = webhook.id, "a webhook that is gone cannot be switched off");
    }
    if let Err(error) = noted {
        tracing::debug!(%error, "what came of a delivery cannot be written");
        return None;
    }
    settings.counters.add(outcome, 1);
    let has_answered = answer != ReceiverAnswer::Silent;
    Some(TriedDelivery { delivery, has_answered, is_gone: answer == ReceiverAnswer::Gone })
}

/// What a receiver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReceiverAnswer {
    /// It has taken the delivery.
    Taken,
    /// It has not.
    Refused,
    /// It wants no more.
    Gone,
    /// Nothing: it cannot be reached, or takes too long.
    Silent,
}

/// Reads an answer. Returns it also in words.
fn read_answer(webhook: &Webhook, answer: Result<Fetched, FetchError>) -> (ReceiverAnswer, String) {
    match answer {
        Ok(Fetched { status, .. }) => {
            let answer = match status {
                200..300 => ReceiverAnswer::Taken,
                410 => ReceiverAnswer::Gone,
                _ => ReceiverAnswer::Refused,
            };
            (answer, format!("status {status}"))
        }
        Err(FetchError::Late(_)) => (ReceiverAnswer::Silent, "no answer in time".to_owned()),
        // The names and ports of the operator's network are no tenant's business.
        Err(error) if webhook.tenant.is_some() => {
            tracing::info!(%error, webhook = webhook.id, "a tenant's webhook cannot be told");
            let text = "no web server of the public internet answers there";
            (ReceiverAnswer::Silent, text.to_owned())
        }
        Err(error) => (ReceiverAnswer::Silent, error.to_string()),
    }
}

/// Switches a webhook off that wants no more.
async fn switch_off(
    settings: &WebhookSettings,
    webhook: &Webhook,
    now: Timestamp,
) -> Result<(), StoreError> {
    let actor = Actor { name: "server".to_owned(), ip: String::new(), request_id: String::new() };
    let mut change = AuditedChange::begin(&settings.database, &actor, now).await?;
    let reason = "its address has answered 410 Gone";
    deliveries::switch_off(&mut change, &webhook.id, reason).await?;
    change.commit_entry().await
}
