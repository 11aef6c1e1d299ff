//! Sends what is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use super::WebhookSigner;
use super::counters::{DeliveryCounters, DeliveryOutcome};
use super::schedule::next_try;
use crate::SPANS;
use crate::database::Database;
use crate::fetch::{Fetch, FetchError, Fetched, KeptConnection, fetch_kept};
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
/// Longest time between two looks in a turn whether the webhook is still on.
const CHECK: Duration = Duration::from_secs(1);
/// By how much a clock must be set back to matter, in microseconds: a minute. Less is a short wait.
const CLOCK_STEP: i64 = 60_000_000;
/// How long a connection is kept for the next deliveries, and how many at most.
const IDLE: Duration = Duration::from_secs(10);
const MAX_KEPT: usize = 64;

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
    /// Connections of webhooks that were told just now, with the time of the last use.
    kept: HashMap<String, (KeptConnection, Instant)>,
    /// The time of day at the last look, and when that was.
    clock: (Timestamp, Instant),
    /// Whether deliveries wait for a time that is too late, because the clock was set back.
    is_set_back: bool,
    /// Whether the log has said which webhooks this server cannot sign for.
    has_checked_signers: bool,
}

/// The outcome of one turn of a webhook.
struct Told {
    webhook: String,
    /// Whether it has answered, be it with an error, and so has the database.
    has_answered: bool,
    connection: Option<KeptConnection>,
}

impl WebhookSender {
    /// Makes a sender.
    pub fn new(settings: Arc<WebhookSettings>) -> Self {
        let clock = ((settings.now)(), Instant::now());
        Self {
            settings,
            clock,
            is_set_back: false,
            busy: HashMap::new(),
            last_turns: HashMap::new(),
            turns: 0,
            silent: HashMap::new(),
            kept: HashMap::new(),
            has_checked_signers: false,
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
            self.kept.retain(|_, (_, used)| used.elapsed() < IDLE);
        }
    }

    /// Begins to tell webhooks that have something due.
    async fn start(&mut self, telling: &mut JoinSet<Told>) -> Result<(), StoreError> {
        if telling.len() >= AT_ONCE {
            return Ok(());
        }
        self.check_signers().await?;
        self.check_clock().await?;
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
            let connection = self.kept.remove(&webhook.id).map(|(connection, _)| connection);
            telling.spawn(tell(self.settings.clone(), webhook, connection));
        }
        Ok(())
    }

    /// Makes due what waits, if the clock was set back since the last look.
    async fn check_clock(&mut self) -> Result<(), StoreError> {
        let ((last, at), now) = (self.clock, (self.settings.now)());
        self.clock = (now, Instant::now());
        let passed = i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX);
        let expected = last.micros().saturating_add(passed);
        self.is_set_back |= expected.saturating_sub(now.micros()) > CLOCK_STEP;
        while self.is_set_back {
            self.is_set_back = deliveries::make_due(&self.settings.database, now).await?;
        }
        Ok(())
    }

    /// Says once in the log how many webhooks this server tells nothing, because it cannot sign for them.
    async fn check_signers(&mut self) -> Result<(), StoreError> {
        if self.has_checked_signers {
            return Ok(());
        }
        let WebhookSettings { database, signer, .. } = &*self.settings;
        let count = webhooks::count_of_other_signers(database, signer.name()).await?;
        self.has_checked_signers = true;
        if count > 0 {
            tracing::warn!(
                count,
                "webhooks were made with another `webhook-key` than the one of this data directory: \
                 this server tells them nothing"
            );
        }
        Ok(())
    }

    fn note(&mut self, told: Told) {
        self.busy.remove(&told.webhook);
        if told.has_answered {
            self.silent.remove(&told.webhook);
            if let Some(connection) = told.connection
                && self.kept.len() < MAX_KEPT
            {
                self.kept.insert(told.webhook, (connection, Instant::now()));
            }
            return;
        }
        let (times, until) = self.silent.entry(told.webhook).or_insert((0, Instant::now()));
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(*times);
        *times = (*times + 1).min(16);
        *until = Instant::now() + pause.min(LONGEST_PAUSE);
    }
}

/// Tells a webhook a batch of what is due, on one connection, and writes at the end what came of it. If the
/// server is killed before, the batch is sent again.
async fn tell(
    settings: Arc<WebhookSettings>,
    webhook: Webhook,
    connection: Option<KeptConnection>,
) -> Told {
    let mut told = Told { webhook: webhook.id.clone(), has_answered: true, connection };
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
    let (start, mut checked) = (Instant::now(), None::<Instant>);
    let (mut sent, mut count) = (Vec::new(), 0);
    for delivery in &claimed {
        if checked.is_none_or(|checked| checked.elapsed() >= CHECK) {
            // It may have been switched off or deleted meanwhile.
            let newest = webhooks::get(&settings.database, None, &webhook.id).await;
            if !newest.is_ok_and(|newest| newest.on) {
                break;
            }
            checked = Some(Instant::now());
        }
        if start.elapsed() >= TURN {
            break;
        }
        let one = send(&settings, &webhook, delivery.clone(), &mut told.connection).await;
        count += 1;
        let answer = one.answer;
        sent.push(one);
        if answer == ReceiverAnswer::Silent {
            told.has_answered = false;
            break;
        }
        if answer == ReceiverAnswer::Gone {
            break;
        }
    }
    let is_gone = sent.last().is_some_and(|last| last.answer == ReceiverAnswer::Gone);
    let noted = note(&settings, &webhook, sent).await;
    told.has_answered &= noted.is_some();
    if !is_gone && count < claimed.len() {
        // If the database does not answer, they are due again when their claim ends.
        let _late = deliveries::release(&settings.database, &claimed[count..], now).await;
    }
    told
}

/// Sends a delivery, and writes down what came of it. `None`: the database does not answer, and it will be
/// sent again.
pub async fn deliver(
    settings: &WebhookSettings,
    webhook: &Webhook,
    delivery: WebhookDelivery,
) -> Option<WebhookDelivery> {
    let sent = send(settings, webhook, delivery, &mut None).await;
    note(settings, webhook, vec![sent]).await?.pop()
}

/// A delivery after a try.
struct SentDelivery {
    delivery: WebhookDelivery,
    answer: ReceiverAnswer,
}

/// Sends a delivery.
async fn send(
    settings: &WebhookSettings,
    webhook: &Webhook,
    mut delivery: WebhookDelivery,
    connection: &mut Option<KeptConnection>,
) -> SentDelivery {
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
        tls: None,
    };
    let span = tracing::info_span!(
        target: SPANS,
        "webhook",
        otel.kind = "client",
        webhook = webhook.id,
        event = delivery.event,
        tries = i64::from(delivery.tries),
        answer = tracing::field::Empty,
    );
    let (answer, text) =
        read_answer(webhook, fetch_kept(request, connection).instrument(span.clone()).await);
    span.record("answer", &text);
    drop(span);
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
    SentDelivery { delivery, answer }
}

/// Writes down what came of tries, and switches a webhook off that is gone. `None`: the database does not
/// answer, and they will be sent again.
async fn note(
    settings: &WebhookSettings,
    webhook: &Webhook,
    sent: Vec<SentDelivery>,
) -> Option<Vec<WebhookDelivery>> {
    let is_gone = sent.iter().any(|sent| sent.answer == ReceiverAnswer::Gone);
    let tried: Vec<_> = sent.into_iter().map(|sent| sent.delivery).collect();
    if tried.is_empty() {
        return Some(tried);
    }
    let noted = deliveries::note_tries(&settings.database, &tried).await;
    if is_gone && let Err(error) = switch_off(settings, webhook, (settings.now)()).await {
        tracing::warn!(%error, webhook = webhook.id, "a webhook that is gone cannot be switched off");
    }
    if let Err(error) = noted {
        tracing::debug!(%error, "what came of deliveries cannot be written");
        return None;
    }
    for delivery in &tried {
        let outcome = match (delivery.delivered_at, delivery.next_at) {
            (Some(_), _) => DeliveryOutcome::Delivered,
            (None, Some(_)) => DeliveryOutcome::Retried,
            (None, None) => DeliveryOutcome::GivenUp,
        };
        settings.counters.add(outcome, 1);
    }
    Some(tried)
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
