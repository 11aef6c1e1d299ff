//! What the routes of the API share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use nucleus_core::control::{ControlReply, ControlRequest, TenantStatus};
use nucleus_core::ids::Product;
use nucleus_core::text;
use nucleus_tokens::Minter;

use crate::alarms::{AlarmSources, AlarmWatch, ServerSurroundings};
use crate::database::Database;
use crate::planes::PlanesHandle;
use crate::series::SeriesStore;
use crate::snapshot::{Snapshot, SnapshotKeeper};
use crate::store::{Actor, AuditedChange, StoreError, audit};
use crate::streams::{EventRing, StreamPlaces};
use crate::timestamp::Timestamp;
use crate::webhooks::WebhookSettings;

use super::history_places::{HistoryPlace, HistoryPlaces};
use super::key_uses::KeyUses;
use super::live_sampler::LiveSampler;
use super::problem::Problem;
use super::rates::RequestRates;
use super::sign_in_state::{SignInSettings, SignInState};

/// Requests at a time that wait for the answer of another server, each for up to 15 s.
const OUTGOING: usize = 8;
/// Those of one tenant: slow servers of one tenant leave places for others.
const OUTGOING_OF_TENANT: usize = 2;

/// What an API is made of.
pub struct ApiSettings {
    /// The database.
    pub database: Database,
    /// The newest snapshot of it.
    pub snapshot: Arc<SnapshotKeeper>,
    /// The session and realtime planes.
    pub planes: PlanesHandle,
    /// Returns the time of day.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The secret of commands on the same machine, which may do everything.
    pub local_key: String,
    /// The products of this server.
    pub products: Vec<Product>,
    /// Signs join tokens; `None`: this server signs none.
    pub minter: Option<Minter>,
    /// Whether the addresses of issuers' keys and of webhooks may be inside this network.
    pub private_addresses: bool,
    /// Tells webhooks.
    pub webhooks: Arc<WebhookSettings>,
    /// The recent events, for streams.
    pub events: Arc<EventRing>,
    /// How people sign in; `None`: nobody does.
    pub sign_in: Option<SignInSettings>,
    /// How the server's figures ran.
    pub series: Arc<SeriesStore>,
    /// The program around the control plane.
    pub surroundings: Arc<dyn ServerSurroundings>,
}

/// A place of a request that asks others. It is free again when this is dropped.
pub(super) struct OutgoingPlace<'a> {
    places: &'a Mutex<Vec<Option<String>>>,
    tenant: Option<String>,
}

impl Drop for OutgoingPlace<'_> {
    fn drop(&mut self) {
        let mut places = lock(self.places);
        if let Some(index) = places.iter().position(|place| *place == self.tenant) {
            places.swap_remove(index);
        }
    }
}

fn lock(places: &Mutex<Vec<Option<String>>>) -> MutexGuard<'_, Vec<Option<String>>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the routes share.
#[derive(Clone)]
pub struct ApiState(Arc<ApiShared>);

struct ApiShared {
    settings: ApiSettings,
    rates: RequestRates,
    key_uses: KeyUses,
    /// Requests that ask others, such as for an issuer's keys, with the tenants of their keys.
    outgoing: Mutex<Vec<Option<String>>>,
    /// Places of requests that read the history.
    history: HistoryPlaces,
    stream_places: Arc<StreamPlaces>,
    live: Arc<LiveSampler>,
    sign_in: SignInState,
    alarms: AlarmWatch,
}

impl ApiState {
    /// Makes the state of an API.
    pub fn new(settings: ApiSettings) -> Self {
        let alarms = AlarmWatch::new(AlarmSources {
            database: settings.database.clone(),
            snapshot: settings.snapshot.clone(),
            planes: settings.planes.clone(),
            series: settings.series.clone(),
            surroundings: settings.surroundings.clone(),
            now: settings.now.clone(),
        });
        Self(Arc::new(ApiShared {
            live: LiveSampler::new(settings.planes.clone()),
            settings,
            rates: RequestRates::default(),
            key_uses: KeyUses::default(),
            outgoing: Mutex::default(),
            history: HistoryPlaces::default(),
            stream_places: Arc::default(),
            sign_in: SignInState::default(),
            alarms,
        }))
    }

    pub(super) fn settings(&self) -> &ApiSettings {
        &self.0.settings
    }

    pub(super) fn key_uses(&self) -> &KeyUses {
        &self.0.key_uses
    }

    /// Whether a text is the secret of commands on the same machine.
    pub(super) fn is_local_key(&self, text: &str) -> bool {
        let own = self.0.settings.local_key.as_bytes();
        verify_slices_are_equal(text.as_bytes(), own).is_ok()
    }

    pub(super) fn rates(&self) -> &RequestRates {
        &self.0.rates
    }

    pub(super) fn database(&self) -> &Database {
        &self.0.settings.database
    }

    pub(super) fn planes(&self) -> &PlanesHandle {
        &self.0.settings.planes
    }

    pub(super) fn events(&self) -> &EventRing {
        &self.0.settings.events
    }

    pub(super) fn series(&self) -> &SeriesStore {
        &self.0.settings.series
    }

    pub(super) fn alarms(&self) -> &AlarmWatch {
        &self.0.alarms
    }

    pub(super) fn live(&self) -> &Arc<LiveSampler> {
        &self.0.live
    }

    pub(super) fn stream_places(&self) -> &Arc<StreamPlaces> {
        &self.0.stream_places
    }

    pub(super) fn webhooks(&self) -> &WebhookSettings {
        &self.0.settings.webhooks
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.0.settings.snapshot.newest()
    }

    /// Returns how people sign in, and what is known of their attempts.
    ///
    /// # Errors
    ///
    /// The answer to send: nobody signs in here.
    pub(super) fn sign_in(&self) -> Result<(&SignInSettings, &SignInState), Problem> {
        let settings = self.0.settings.sign_in.as_ref();
        let off =
            || Problem::conflict("nobody signs in to this server: `[sign_in]` has `on = false`");
        Ok((settings.ok_or_else(off)?, &self.0.sign_in))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.settings.now)()
    }

    /// Takes a place for asking others.
    ///
    /// # Errors
    ///
    /// The answer to send: all places are taken, or those of `tenant`, that of the caller's key.
    pub(super) fn outgoing(&self, tenant: Option<&str>) -> Result<OutgoingPlace<'_>, Problem> {
        let tenant = tenant.map(str::to_owned);
        let mut places = lock(&self.0.outgoing);
        let of_tenant = places.iter().filter(|place| **place == tenant).count();
        let is_share_used = tenant.is_some() && of_tenant >= OUTGOING_OF_TENANT;
        if places.len() >= OUTGOING || is_share_used {
            return Err(Problem::unavailable("too many requests wait for the answers of others"));
        }
        places.push(tenant.clone());
        Ok(OutgoingPlace { places: &self.0.outgoing, tenant })
    }

    /// Takes a place for reading the history, and waits for a while for one. `tenant` is that of the caller; `None`:
    /// the caller sees the whole server.
    ///
    /// # Errors
    ///
    /// The answer to send: all places stay taken, or those of the tenant.
    pub(super) async fn history_place(
        &self,
        tenant: Option<&str>,
    ) -> Result<HistoryPlace<'_>, Problem> {
        let place = self.0.history.take(tenant).await;
        place.ok_or_else(|| Problem::unavailable("others read the history: try again"))
    }

    /// Returns what the tenant of this name has; `None`: the planes are busy.
    pub(crate) async fn tenant_status(&self, name: &str) -> Option<TenantStatus> {
        let request = ControlRequest::Tenant { tenant: name.to_owned() };
        match self.planes().ask(request).await {
            Ok(ControlReply::Tenant(status)) => Some(status),
            _ => None,
        }
    }

    /// Returns the answer to a field that names a product that the server has not.
    pub(super) fn unknown_product(&self, field: &str, name: &str) -> Problem {
        let known: Vec<_> = self.settings().products.iter().map(Product::name).collect();
        let (name, known) = (text::printable(name), known.join(", "));
        Problem::invalid(format!("`{field}`: {name} is none of {known}"))
    }

    /// Begins a change by a caller.
    pub(super) async fn begin<'a>(&self, actor: &'a Actor) -> Result<AuditedChange<'a>, Problem> {
        Ok(AuditedChange::begin(self.database(), actor, self.now()).await?)
    }

    /// Notes in the audit what a caller is about to be given.
    ///
    /// # Errors
    ///
    /// The database cannot be reached.
    pub(super) async fn try_note(
        &self,
        actor: &Actor,
        tenant_name: Option<&str>,
        action: &'static str,
        target: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        let snapshot = self.snapshot();
        let tenant = tenant_name.and_then(|name| snapshot.tenant_named(name));
        let tenant = tenant.map(|tenant| tenant.id.as_str());
        let mut change = AuditedChange::begin(self.database(), actor, self.now()).await?;
        audit::note(&mut change, tenant, action, target, detail).await?;
        change.commit_entry().await
    }

    /// Notes in the audit what a caller has done to the planes. The act has been carried out, so the
    /// log takes the entry if the database does not.
    pub(super) async fn note(
        &self,
        actor: &Actor,
        tenant_name: Option<&str>,
        action: &'static str,
        target: &str,
        detail: &str,
    ) {
        let noted = self.try_note(actor, tenant_name, action, target, detail);
        if let Err(error) = noted.await {
            let actor = &actor.name;
            tracing::warn!(target: "audit", %error, actor, action, target, detail, "not in the database");
        }
    }

    /// Makes a change lasting, and lets the next request see it. The change holds even if it cannot be
    /// read back: the snapshot then follows within a second.
    pub(super) async fn commit(&self, change: AuditedChange<'_>) -> Result<(), Problem> {
        change.commit().await?;
        if let Err(error) = self.0.settings.snapshot.refresh().await {
            tracing::warn!(%error, "a change of tenants or keys cannot be read back yet");
        }
        Ok(())
    }
}
