//! What the rules of alarms look at.

use nucleus_core::validity::Validity;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::SilentWebhook;
use crate::timestamp::Timestamp;

/// Where the served certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateKind {
    /// The server has made it. Clients must pin it.
    Own,
    /// The operator has given files.
    Files,
    /// The server has ordered it from an authority (ACME).
    Acme,
}

/// The certificate that the server shows to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Where it comes from.
    pub kind: CertificateKind,
    /// When it is valid.
    pub validity: Validity,
}

/// A tenant that may join, whose licence has an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenceFacts {
    /// The tenant's id.
    pub tenant: String,
    /// The tenant's name.
    pub name: String,
    /// The end.
    pub ends_at: Timestamp,
}

/// What came of the clients that wanted to join in the last ten minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JoinFacts {
    /// Clients that were admitted.
    pub joined: f64,
    /// Clients that were not.
    pub failed: f64,
}

/// What is known of the server at a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlarmFacts {
    /// Why the server is not ready for sessions; `None`: it is.
    pub not_ready: Option<String>,
    /// The served certificate; `None`: it cannot be read.
    pub certificate: Option<CertificateFacts>,
    /// Whether operators have given the server keys of their own, so that it is no trial.
    pub is_production: bool,
    /// Whether the certificate and the keys could be read when they were read last.
    pub is_reloaded: bool,
    /// The licences that have ended or end in the next eight weeks, the first end first.
    pub licences: Vec<LicenceFacts>,
    /// Whether the database answers.
    pub database_answers: bool,
    /// Events of the history that wait for the database.
    pub history_waiting: u64,
    /// Datagrams that the kernel has dropped in a second, on average over five minutes.
    pub kernel_drops: Option<f64>,
    /// The share of a core that each shard used, on average over five minutes.
    pub cpu: Vec<Option<f64>>,
    /// The 99th percentile of the relay latency in microseconds: the best step of the last minute; `None`: not
    /// every step of it is known.
    pub relay_p99_us: Option<u64>,
    /// What came of joins.
    pub joins: JoinFacts,
    /// Live links.
    pub links: u64,
    /// Links whose client is on the fallback.
    pub on_fallback: u64,
    /// Sessions at this moment.
    pub sessions: u64,
    /// Most sessions at a time.
    pub max_sessions: u64,
    /// Webhooks that are not told of events.
    pub webhooks: Vec<SilentWebhook>,
    /// Free bytes of the disk that has the data directory; `None`: it is not known.
    pub free_disk: Option<u64>,
}
