//! `server` and `drain`: the server as a whole.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nucleus_core::control::{ControlReply, ControlRequest, ServerStatus, ShardStatus};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::problem::Problem;
use super::responses::Common;
use super::state::ApiState;
use crate::alarms::CertificateKind;
use crate::timestamp::Timestamp;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(drain))
}

/// The server and its shards.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerInfo {
    /// The server's id.
    id: String,
    /// The version of Nucleus.
    version: &'static str,
    /// How long it runs, in seconds.
    uptime_seconds: u64,
    /// Whether it accepts sessions.
    accepts: bool,
    /// Sessions at this moment, those included that may still resume.
    sessions: u64,
    /// Most sessions at a time.
    max_sessions: u64,
    /// Live rooms.
    rooms: u64,
    /// The products that tenants may have.
    products: Vec<String>,
    /// Why the server is not ready for sessions; absent: it is.
    not_ready: Option<String>,
    /// Whether the database answers.
    database_answers: bool,
    /// The certificate that clients see; absent: it cannot be read.
    certificate: Option<Certificate>,
    /// Whether the server has keys of its operators, and is no trial.
    production: bool,
    /// The shards, by their numbers.
    shards: Vec<Shard>,
}

/// The certificate that clients see.
#[derive(Debug, Serialize, ToSchema)]
struct Certificate {
    /// Where it comes from.
    kind: CertificateKind,
    /// The first moment at which it is valid.
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    /// The last moment.
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
}

/// A shard: a thread that relays realtime messages.
#[derive(Debug, Serialize, ToSchema)]
struct Shard {
    /// Live links.
    links: u64,
    /// Links whose client is on the fallback.
    on_fallback: u64,
    /// How long it gathers messages at present, in microseconds.
    tick_microseconds: u64,
    /// Datagrams that the kernel has dropped since the start.
    kernel_drops: u64,
    /// Datagrams received since the start, those inside sessions included.
    datagrams_in: u64,
    /// Datagrams sent since the start, those inside sessions included.
    datagrams_out: u64,
    /// Bytes of the received datagrams.
    bytes_in: u64,
    /// Bytes of the sent datagrams.
    bytes_out: u64,
}

impl ServerInfo {
    /// Translates what the planes answer, and adds what the control plane knows.
    pub(super) fn new(status: &ServerStatus, state: &ApiState) -> Self {
        let settings = state.settings();
        let certificate = settings.surroundings.certificate().map(|certificate| Certificate {
            kind: certificate.kind,
            starts_at: Timestamp::from_seconds(certificate.validity.start),
            ends_at: Timestamp::from_seconds(certificate.validity.end),
        });
        let shard = |shard: &ShardStatus| Shard {
            links: shard.links,
            on_fallback: shard.on_fallback,
            tick_microseconds: u64::try_from(shard.tick.as_micros()).unwrap_or(u64::MAX),
            kernel_drops: shard.kernel_drops,
            datagrams_in: shard.datagrams_in,
            datagrams_out: shard.datagrams_out,
            bytes_in: shard.bytes_in,
            bytes_out: shard.bytes_out,
        };
        Self {
            id: status.server_id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: status.uptime.as_secs(),
            accepts: status.accepts,
            sessions: status.sessions,
            max_sessions: status.max_sessions,
            rooms: status.rooms,
            products: settings.products.iter().map(ToString::to_string).collect(),
            not_ready: settings.surroundings.not_ready(),
            database_answers: settings.snapshot.is_answered(),
            certificate,
            production: settings.surroundings.is_production(),
            shards: status.shards.iter().map(shard).collect(),
        }
    }
}

/// How the server is.
#[utoipa::path(
    get,
    path = "/server",
    operation_id = "get_server",
    tag = "server",
    security(("key" = ["read"])),
    responses((status = 200, description = "The server", body = ServerInfo), Common)
)]
async fn get(State(state): State<ApiState>, caller: Caller) -> Result<Json<ServerInfo>, Problem> {
    caller.needs_server(Scope::Read)?;
    let ControlReply::Server(status) = state.planes().ask(ControlRequest::Server).await? else {
        return Err(Problem::unavailable("the server gave another answer"));
    };
    Ok(Json(ServerInfo::new(&status, &state)))
}

/// Stops the server: it accepts no more sessions, tells those that there are, and the process ends.
#[utoipa::path(
    post,
    path = "/drain",
    operation_id = "drain",
    tag = "server",
    security(("key" = ["operate"])),
    responses((status = 202, description = "The server stops"), Common)
)]
async fn drain(State(state): State<ApiState>, caller: Caller) -> Result<StatusCode, Problem> {
    caller.needs_server(Scope::Operate)?;
    state.note(&caller.actor, None, "server.drain", "", "").await;
    state.planes().ask(ControlRequest::Drain).await?;
    Ok(StatusCode::ACCEPTED)
}
