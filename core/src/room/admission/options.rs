//! What a room is made with, and what a join says for its admission.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use nucleus_protocol::session::Value;
use serde::Deserialize;

/// What whoever makes a room wants of it. Lengths and rights have been checked before.
#[derive(Clone, Debug, Default)]
pub struct RoomOptions {
    /// The version of the application that meets here.
    pub version: String,
    /// What a join must know.
    pub password: Option<Password>,
    /// Neither listed nor matched.
    pub hidden: bool,
    /// Locked from the start.
    pub locked: bool,
    /// It does not end because it is empty.
    pub kept: bool,
    /// Who alone gets in, each with a reserved seat; `None`: everybody.
    pub invited: Option<Vec<String>>,
    /// It outlives its last peer for so long.
    pub empty_ttl: Duration,
    /// It ends when nobody has come in this time. `None`: a join makes it, and it ends at once when
    /// that join is refused.
    pub first_within: Option<Duration>,
    /// Keys of the room's fields that the lobby shows.
    pub listed: Vec<Vec<u8>>,
    /// The room's fields at first.
    pub fields: Vec<(Vec<u8>, Value)>,
}

/// What a newcomer brings beside its token. A place that is resumed needs none of it.
#[derive(Clone, Debug, Default)]
pub struct JoinConditions {
    /// The version of its application.
    pub version: String,
    /// The room's password, as far as it knows.
    pub password: Option<Password>,
    /// Users for whom seats are reserved from now on.
    pub expected: Vec<String>,
}

/// What becomes of a user who joins a room that the user is in already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondDevice {
    /// Both stay: a headset and a desktop, say.
    #[default]
    Allow,
    /// The first one goes.
    Replace,
    /// The second one does not get in, unless the first one's session is lost.
    Refuse,
}

/// A password's digest: the room keeps nothing that a memory image would give away at once.
#[derive(Clone, Copy)]
pub struct Password([u8; 32]);

impl Password {
    /// Of what the client wrote; empty means none.
    pub fn of(password: &[u8]) -> Option<Self> {
        if password.is_empty() {
            return None;
        }
        let digest = digest(&SHA256, &[b"nucleus room password", password].concat());
        digest.as_ref().try_into().ok().map(Self)
    }

    /// Takes the same time whatever the difference.
    pub(super) fn is(&self, other: Option<Self>) -> bool {
        other.is_some_and(|other| verify_slices_are_equal(&self.0, &other.0).is_ok())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It reaches no log.
        f.write_str("Password")
    }
}
