//! The limits of rooms: admission, bans, moderation and slots. Everybody reads them as part of
//! [`crate::limits`].

use std::time::Duration;

use nucleus_protocol::limits::MAX_ROOM_PEERS;

use crate::rate::Rate;

/// Most users banned from a room at a time: 64 KiB with the longest names. The oldest ban is
/// dropped first.
pub const BANS: usize = 256;
/// Most bans of all rooms together that a server keeps over a restart: 32 rooms with [`BANS`] each.
/// The server writes all of them each time, at most 6 MiB. If there are more, the tenant with the
/// most loses the one that ends first. That ban still holds as long as its room instance.
pub const BAN_RECORDS: usize = 32 * BANS;
/// Largest file of bans that the server reads, in bytes: a record has at most 320 bytes of names,
/// each of which JSON may write as six. A larger file is damaged.
pub const BANS_FILE_BYTES: u64 = 2_048 * BAN_RECORDS as u64;
/// Shortest time between two writes of the file of bans. The first ban is written at once; bans
/// that follow within this time are lost if the server is killed in it.
pub const BANS_WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How often the server writes the file of bans without those that have ended, and tries again to
/// write a file that it could not write.
pub const BANS_SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Longest time that a server that stops waits for the file of bans: a disk may hang.
pub const BANS_CLOSE_TIME: Duration = Duration::from_secs(2);
/// How long a new room waits for the join that made it: longer than a join may take.
pub const FOUNDING_TIME: Duration = Duration::from_secs(10);
/// How long a seat stays reserved for an expected user: enough to read a message and put on a
/// headset.
pub const RESERVATION_TIME: Duration = Duration::from_secs(60);
/// Most seats of a room that one user may have reserved at a time: a group of friends.
pub const RESERVATIONS_OF_USER: usize = 16;
/// Largest capacity of a small room, in which all seats but one may be reserved. In a larger room,
/// half of the seats may be reserved.
pub const SMALL_ROOM: usize = 16;
/// Most users on the list of invited users of a room: 128 KiB with the longest names.
pub const INVITED_USERS: usize = 1_024;
/// Most wrong passwords that a room takes from one user within [`GUESS_TIME`].
pub const GUESSES_OF_USER: usize = 5;
/// Most wrong passwords that a room takes from all users within [`GUESS_TIME`]: trying ten thousand
/// common passwords then takes longer than a meeting.
pub const GUESSES: usize = 60;
/// The period of [`GUESSES_OF_USER`] and [`GUESSES`].
pub const GUESS_TIME: Duration = Duration::from_secs(60);
/// Rate of acts of moderation that a room accepts from all moderators together. Every peer is sent
/// an audit of each act. A peer whose network is down for ten seconds must not be cut off because
/// of these audits.
pub const ACTS_RATE: Rate = Rate { per_second: 5, burst: 20 };
/// Most users muted by moderators whom a room remembers, so that they are still muted after they
/// rejoin. If the list is full, the oldest mute is dropped first.
pub const MUTED_USERS: usize = 256;
/// Most slots of a room: those in use and those that rest. A room may replace all its peers several
/// times within a minute before joins must wait.
pub const SLOTS: u16 = MAX_ROOM_PEERS * 8;
/// Most resting slots that the devices of one user may cause, so that a user who joins and leaves
/// in a loop keeps nobody else out.
pub const RESTING_SLOTS_OF_USER: u16 = MAX_ROOM_PEERS / 2;
