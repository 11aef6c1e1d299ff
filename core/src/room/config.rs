//! The settings of a room, and the conditions that a join must meet.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use nucleus_protocol::session::Value;
use serde::Deserialize;

use crate::ids::{RoomInstanceId, ServerInstanceId};
use crate::limits::Limits;

/// The settings of a room.
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// The server's limits.
    pub limits: Limits,
    /// The largest number of participants, at most `limits.room_capacity`.
    pub capacity: u16,
    /// The rule for a user who joins with a second device.
    pub second_device: SecondDevice,
    /// The room instance id.
    pub instance: RoomInstanceId,
    /// The server instance id.
    pub server_instance: ServerInstanceId,
    /// The clock epoch. It changes when the server restarts.
    pub clock_epoch: u32,
    /// The options chosen by the creator of the room.
    pub options: RoomOptions,
    /// The bans that the room begins with, oldest first: those of the instance in which the server
    /// stopped.
    pub bans: Vec<Ban>,
}

/// A ban of a user from a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The user id.
    pub user: String,
    /// How long the ban lasts from now on.
    pub time: Duration,
}

/// The options chosen by the creator of a room. The caller has checked their lengths and the
/// creator's rights.
#[derive(Clone, Debug, Default)]
pub struct RoomOptions {
    /// The application version that a newcomer must have.
    pub version: String,
    /// The password that a newcomer must know. `None`: the room has no password.
    pub password: Option<Password>,
    /// Hides the room: the lobby neither lists nor matches it.
    pub hidden: bool,
    /// Locks the room from the start.
    pub locked: bool,
    /// Keeps the room open after its last participant has left.
    pub kept: bool,
    /// The only users who may join, each with a reserved seat. `None`: everybody may join.
    pub invited: Option<Vec<String>>,
    /// How long the room stays open after its last participant has left.
    pub empty_ttl: Duration,
    /// The room ends if nobody has joined within this time. `None`: a join created the room, and
    /// the room ends at once if that join is refused.
    pub first_within: Option<Duration>,
    /// Keys of the room's fields that the lobby shows.
    pub listed: Vec<Vec<u8>>,
    /// Initial fields of the room, as key and value.
    pub fields: Vec<(Vec<u8>, Value)>,
}

/// The conditions under which a newcomer joins, beside its token. A resume does not check them.
#[derive(Clone, Debug, Default)]
pub struct JoinConditions {
    /// The version of the newcomer's application.
    pub version: String,
    /// The room's password, if the newcomer sent one.
    pub password: Option<Password>,
    /// Users for whom the newcomer reserves seats.
    pub expected: Vec<String>,
}

/// The rule for a user who joins a room that the same user is already in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondDevice {
    /// Both devices stay, for example a headset and a desktop.
    #[default]
    Allow,
    /// The first device has to leave.
    Replace,
    /// The second device is refused, unless the first one's session is lost.
    Refuse,
}

/// The digest of a password. The password itself is not kept, so a memory image does not show it.
#[derive(Clone, Copy)]
pub struct Password([u8; 32]);

impl Password {
    /// Digests a password as the client sent it. `None`: the password is empty.
    pub fn of(password: &[u8]) -> Option<Self> {
        if password.is_empty() {
            return None;
        }
        let digest = digest(&SHA256, &[b"nucleus room password", password].concat());
        digest.as_ref().try_into().ok().map(Self)
    }

    /// Compares two passwords. The time taken does not depend on where they differ.
    pub(super) fn matches(&self, other: Option<Self>) -> bool {
        other.is_some_and(|other| verify_slices_are_equal(&self.0, &other.0).is_ok())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the digest may reach a log.
        f.write_str("Password")
    }
}
