//! An API for tests, with two tenants and their rooms.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use nucleus_control::alarms::{CertificateFacts, CertificateKind, ServerSurroundings};
use nucleus_control::api::{ApiSettings, ApiState, SignInSettings, router};
use nucleus_control::console::{self, ConsoleSettings, ConsoleState};
use nucleus_control::database::{Database, DatabaseAddress};
use nucleus_control::people::PasswordWorker;
use nucleus_control::series::SeriesStore;
use nucleus_control::streams::EventRing;
use nucleus_control::webhooks::{WebhookSettings, WebhookSigner};
use nucleus_control::{PlanesHandle, PlanesMail, SnapshotKeeper, SnapshotSettings, Timestamp};
use nucleus_core::control::{
    CallSummary, ControlError, ControlReply, ControlRequest, LivePeerStats, LiveRoomStats,
    PeerSummary, ProductCalls, RoomAct, RoomContent, RoomDetail, RoomProperty, RoomSummary,
    ServerStatus, ShardStatus, TenantStatus, search_rooms,
};
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomInstanceId};
use nucleus_core::room_stats::{HeadPose, LiveLinkStats, LivePathStats};
use nucleus_core::validity::Validity;
use nucleus_protocol::realtime::pose::Transform;
use nucleus_protocol::session::{Value as StateValue, value};
use nucleus_protocol::time::Time;
use serde_json::{Value, json};
use tokio::sync::{RwLock, mpsc};
use tower::ServiceExt;

use crate::fresh::{Fresh, fresh};
use crate::stream::Stream;

pub(crate) const LOCAL: &str = "local-key-of-the-tests";

/// What the planes were told to do.
pub(crate) type Acts = Arc<Mutex<Vec<(RoomInstanceId, RoomAct)>>>;

pub(crate) struct World {
    router: axum::Router,
    pub(crate) state: ApiState,
    pub(crate) acts: Acts,
    pub(crate) planes: Arc<PlayedPlanes>,
    /// The time of day that the API sees, in seconds since 1970.
    pub(crate) now: Arc<Mutex<u64>>,
    pub(crate) webhooks: Arc<WebhookSettings>,
    pub(crate) database: Database,
    pub(crate) events: Arc<EventRing>,
    _dir: tempfile::TempDir,
    _fresh: Fresh,
}

/// How long what comes of a stream at once is awaited.
const STREAM_TIME: Duration = Duration::from_millis(5);

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) async fn of(response: Response) -> Self {
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        if kind == "text/event-stream" {
            // It goes on for ever. What comes at once is enough.
            let text = Stream::new(response).rest(STREAM_TIME).await;
            return Self { status, kind, text };
        }
        let bytes = to_bytes(response.into_body(), 4 << 20).await.unwrap();
        Self { status, kind, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ApiSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // PostgreSQL is the last one if there is one; the ordinary run of the tests covers SQLite.
        let fresh = fresh().await.pop().unwrap();
        let database = Database::open(&fresh.address);
        let clock = Arc::new(Mutex::new(1_800_000_000));
        let set = clock.clone();
        let now: Arc<dyn Fn() -> Timestamp + Send + Sync> =
            Arc::new(move || Timestamp::from_seconds(*clock.lock().unwrap()));
        let snapshot = SnapshotKeeper::new(SnapshotSettings {
            database: database.clone(),
            policies: Arc::default(),
            listed_only: false,
            copy: dir.path().join("copy.json"),
            now: now.clone(),
        });
        let started = snapshot.start().await;
        started.unwrap_or_else(|error| panic!("{}: {error}", fresh.kind));
        let (planes, mail) = PlanesHandle::new();
        let acts = Acts::default();
        let played = Arc::<PlayedPlanes>::default();
        tokio::spawn(play(mail, acts.clone(), played.clone()));
        let webhooks = Arc::new(WebhookSettings {
            database: database.clone(),
            signer: WebhookSigner::new(&[7; 64]),
            private_addresses: false,
            now: now.clone(),
            wake: Arc::default(),
            counters: Arc::default(),
            places: Arc::default(),
        });
        let mut settings = ApiSettings {
            database: database.clone(),
            snapshot,
            planes,
            now,
            local_key: LOCAL.to_owned(),
            products: vec![Product::ASSIST, Product::ATOM],
            minter: None,
            private_addresses: false,
            webhooks,
            events: EventRing::new().unwrap(),
            sign_in: Some(SignInSettings {
                passwords: PasswordWorker::start().unwrap(),
                url: None,
                single_sign_on: None,
                counters: Arc::default(),
            }),
            series: SeriesStore::new(),
            surroundings: Arc::<PlayedSurroundings>::default(),
        };
        change(&mut settings);
        let (webhooks, events) = (settings.webhooks.clone(), settings.events.clone());
        let state = ApiState::new(settings);
        let console = ConsoleSettings {
            host: "xr.example.org".to_owned(),
            data_dir: "/var/lib/nucleus".to_owned(),
            session_port: 5055,
            session_also: vec![443],
            realtime_port: 5056,
            https_port: Some(443),
            has_demo: false,
            history_days: 90,
            drain_seconds: 3,
        };
        let console = ConsoleState::new(state.clone(), console);
        Self {
            router: router(state.clone()).merge(console::router(console)),
            state,
            acts,
            planes: played,
            now: set,
            webhooks,
            database,
            events,
            _dir: dir,
            _fresh: fresh,
        }
    }

    /// Returns the routes, for a test that asks them in another way.
    pub(crate) fn router(&self) -> axum::Router {
        self.router.clone()
    }

    /// Everything that stands in the files of SQLite; nothing with PostgreSQL.
    pub(crate) fn database_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let DatabaseAddress::Sqlite(path) = &self._fresh.address {
            for end in ["", "-wal"] {
                let file = format!("{}{end}", path.display());
                bytes.extend(std::fs::read(file).unwrap_or_default());
            }
        }
        bytes
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    /// Sends a request with an API key. Without a body if it is null.
    pub(crate) async fn ask(&self, method: &str, path: &str, key: &str, body: Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        let request = match body {
            Value::Null => request.body(Body::empty()),
            body => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string())),
        };
        self.send(request.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Answer {
        self.ask("GET", path, key, Value::Null).await
    }

    /// Asks for a stream.
    pub(crate) async fn ask_stream(&self, path: &str, key: &str, last: Option<&str>) -> Response {
        let request = Request::builder()
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Opens a stream.
    pub(crate) async fn stream(&self, path: &str, key: &str, last: Option<&str>) -> Stream {
        let response = self.ask_stream(path, key, last).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        Stream::new(response).after(last)
    }

    /// Makes a tenant and returns its id.
    pub(crate) async fn tenant(&self, name: &str) -> String {
        let answer = self.ask("POST", "/tenants", LOCAL, json!({"name": name})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Makes an API key and returns its text.
    pub(crate) async fn key(&self, tenant: Option<&str>, scopes: &[&str]) -> String {
        let body = json!({"name": "a test", "tenant": tenant, "scopes": scopes});
        let answer = self.ask("POST", "/keys", LOCAL, body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["key"].as_str().unwrap().to_owned()
    }
}

/// The rooms of the tests: one of each tenant "acme" and "beta", whose names say whose they are.
pub(crate) fn rooms() -> Vec<RoomDetail> {
    let room = |number: u8, tenant: &str| {
        let owner = ProductKey { tenant: tenant.to_owned(), product: Product::ATOM };
        let summary = RoomSummary {
            instance: RoomInstanceId([number; 8]),
            key: Arc::new(owner.room(format!("{tenant} lobby"))),
            peers: 1,
            capacity: 50,
            locked: false,
            hidden: false,
            kept: false,
            age: Duration::from_secs(90),
            shard: 0,
        };
        let peer = PeerSummary {
            peer: PeerId(7),
            user: format!("{tenant}-user"),
            name: "Ada".to_owned(),
            role: "member".to_owned(),
            moderator: false,
            away: false,
            muted: false,
            self_muted: false,
            lost: false,
            sessions: 2,
            age: Duration::from_secs(70),
        };
        let odd_user = (format!("{tenant}/zoë \"%20\"?"), Duration::from_secs(60));
        let bans = vec![(format!("{tenant}-kept-out"), Duration::from_secs(754)), odd_user];
        let content = RoomContent { peers: vec![peer], bans, objects: 3 };
        RoomDetail { room: summary, content }
    };
    vec![room(1, "acme"), room(2, "beta")]
}

/// The calls of the tests: one of each tenant "acme" and "beta".
fn calls() -> Vec<ProductCalls> {
    let product = |tenant: &str| {
        let owner = ProductKey { tenant: tenant.to_owned(), product: Product::ATOM };
        let call = CallSummary {
            call: 7,
            started: Time::from_micros(1_000),
            caller: format!("{tenant}-user"),
            age: Duration::from_secs(9),
            talking: Some(Duration::from_secs(5)),
            members: vec![format!("{tenant}-user"), "ben".to_owned()],
            ringing: Vec::new(),
        };
        ProductCalls { owner: Arc::new(owner), calls: vec![call] }
    };
    ["acme", "beta"].map(product).into()
}

/// A program around the control plane that is well, until a test says otherwise.
#[derive(Default)]
pub(crate) struct PlayedSurroundings {
    /// Events of the history that wait.
    pub(crate) waiting: AtomicUsize,
    /// Whether the certificate has ended.
    pub(crate) has_ended: AtomicBool,
}

impl ServerSurroundings for PlayedSurroundings {
    fn not_ready(&self) -> Option<String> {
        None
    }

    fn certificate(&self) -> Option<CertificateFacts> {
        let has_ended = self.has_ended.load(Ordering::Relaxed);
        let end = if has_ended { 1_799_999_000 } else { 1_803_000_000 };
        let validity = Validity { start: 1_795_000_000, end };
        Some(CertificateFacts { kind: CertificateKind::Files, validity })
    }

    fn is_production(&self) -> bool {
        true
    }

    fn is_reloaded(&self) -> bool {
        true
    }

    fn history_waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed) as u64
    }

    fn free_disk(&self) -> Option<u64> {
        None
    }
}

/// What the tests set of the planes, and see of them.
#[derive(Default)]
pub(crate) struct PlayedPlanes {
    /// Whether the rooms have ended.
    pub(crate) have_ended: AtomicBool,
    /// Whether all sessions of the server are in use.
    pub(crate) is_full: AtomicBool,
    /// The questions for the server, for a tenant, and for the figures of a room.
    pub(crate) asked: [AtomicUsize; 3],
    /// Calls beside those of each world: the number, and the time of the start in microseconds.
    pub(crate) calls: Mutex<Vec<(u64, u64)>>,
    /// The calls that were ended, each with its tenant.
    pub(crate) ended_calls: Mutex<Vec<(String, u64)>>,
    /// While a test holds it for writing, the planes answer nothing.
    pub(crate) answers: RwLock<()>,
}

impl PlayedPlanes {
    pub(crate) fn asked(&self) -> [usize; 3] {
        self.asked.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    fn count(&self, what: usize) -> u64 {
        self.asked[what].fetch_add(1, Ordering::Relaxed) as u64
    }
}

/// Plays the planes.
async fn play(mut mail: mpsc::Receiver<PlanesMail>, acts: Acts, played: Arc<PlayedPlanes>) {
    while let Some(PlanesMail { request, reply }) = mail.recv().await {
        let _answers = played.answers.read().await;
        let _gone = reply.send(answer(request, &acts, &played));
    }
}

/// The figures of a room: its one peer has a link and a session.
fn stats(room: RoomDetail) -> LiveRoomStats {
    let RoomDetail { room, content } = room;
    let session = LivePathStats { rtt: Some(Duration::from_millis(31)), loss_ppm: None };
    let peers = content.peers.into_iter().map(|peer| LivePeerStats {
        link: Some(LiveLinkStats {
            peer: peer.peer,
            on_fallback: Some(true),
            jitter: None,
            loss_in_ppm: Some(0),
            loss_out_ppm: None,
            datagrams_in: 5,
            datagrams_out: 6,
            bytes_in: 500,
            bytes_out: 600,
            withheld: 7,
            speaking: true,
        }),
        agent: Some("a client/1.0".to_owned()),
        session: Some(session),
        peer,
    });
    LiveRoomStats { room, shard_answered: true, peers: peers.collect() }
}

fn answer(
    request: ControlRequest,
    acts: &Acts,
    played: &PlayedPlanes,
) -> Result<ControlReply, ControlError> {
    let rooms = || if played.have_ended.load(Ordering::Relaxed) { Vec::new() } else { rooms() };
    let find = |instance| rooms().into_iter().find(|room| room.room.instance == instance);
    Ok(match request {
        ControlRequest::Rooms(search) => {
            let all = rooms().into_iter().map(|detail| detail.room).collect();
            let (found, total) = search_rooms(all, &search)?;
            ControlReply::Rooms(found, total)
        }
        ControlRequest::Room(instance) => {
            ControlReply::Room(Box::new(find(instance).ok_or(ControlError::NoSuchRoom)?))
        }
        ControlRequest::Act(instance, act) => {
            let room = find(instance).ok_or(ControlError::NoSuchRoom)?;
            if let RoomAct::Unban(user) = &act
                && room.content.bans.iter().all(|(banned, _)| banned != user)
            {
                return Err(ControlError::NoSuchBan);
            }
            if matches!(&act, RoomAct::SetFields(fields) if fields[0].key == "full") {
                return Err(ControlError::TooManyFields);
            }
            acts.lock().unwrap().push((instance, act));
            ControlReply::Done
        }
        ControlRequest::Calls { tenant } => {
            let mut found = calls();
            for (call, started) in played.calls.lock().unwrap().iter() {
                let more = CallSummary {
                    call: *call,
                    started: Time::from_micros(*started),
                    ..found[0].calls[0].clone()
                };
                found[0].calls.push(more);
            }
            found.retain(|of| tenant.as_ref().is_none_or(|own| of.owner.tenant == *own));
            ControlReply::Calls(found)
        }
        ControlRequest::Fields(instance) => {
            let room = find(instance).ok_or(ControlError::NoSuchRoom)?;
            let text = room.content.peers[0].user.clone().into_bytes();
            let value = StateValue { kind: value::TEXT, bits: 0, bytes: text };
            let field = RoomProperty { key: "winner".to_owned(), value };
            ControlReply::Fields(Box::new(room.room), vec![field])
        }
        ControlRequest::RoomStats(instance) => {
            played.count(2);
            ControlReply::RoomStats(Box::new(stats(
                find(instance).ok_or(ControlError::NoSuchRoom)?,
            )))
        }
        ControlRequest::RoomPlan(instance) => {
            let room = find(instance).ok_or(ControlError::NoSuchRoom)?;
            let head = Transform { position: [1.5, 1.7, -2.0], rotation: [0.0, 0.0, 0.0, 1.0] };
            let pose = HeadPose { peer: PeerId(7), head, age: Duration::from_millis(20) };
            // The first answer has no poses yet, as in the server.
            let poses = if played.count(2) == 0 { Vec::new() } else { vec![pose] };
            ControlReply::RoomPlan(Box::new(stats(room)), Some(poses))
        }
        ControlRequest::Server => {
            let datagrams_in = 1_000 * played.count(0);
            let shards = vec![ShardStatus { datagrams_in, ..ShardStatus::default() }];
            let max_sessions = if played.is_full.load(Ordering::Relaxed) { 9 } else { 0 };
            let status = ServerStatus { accepts: true, sessions: 9, shards, ..Default::default() };
            ControlReply::Server(Box::new(ServerStatus { max_sessions, ..status }))
        }
        ControlRequest::Tenant { tenant } => {
            played.count(1);
            let sessions = if tenant == "acme" { 3 } else { 4 };
            ControlReply::Tenant(TenantStatus { sessions, rooms: 1 })
        }
        ControlRequest::EndCall { tenant, call } => {
            played.ended_calls.lock().unwrap().push((tenant, call));
            ControlReply::Done
        }
        ControlRequest::RemoveUser { .. } => ControlReply::Done,
        ControlRequest::Figures => return Err(ControlError::Busy),
        ControlRequest::Drain => ControlReply::Done,
    })
}
