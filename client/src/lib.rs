//! A Nucleus client: join a room, send poses, voice, events and large messages, hear the others, and
//! change the room's state together.
//!
//! ```no_run
//! use nucleus_client::{ConnectOptions, RoomEvent, To};
//!
//! # async fn run(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let options = ConnectOptions::new("127.0.0.1:5055", token).room("lobby").name("Ada");
//! let room = nucleus_client::connect(options).await?;
//! room.send_event(To::Others, 0, b"hello").await?;
//! while let Some(event) = room.next().await {
//!     if let RoomEvent::Pose { from, pose, .. } = event {
//!         println!("{from} is at {:?}", pose.head.position);
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! [`connect`] and [`Room`] are all that an application needs in a room; [`enter`] and [`Social`] make it
//! reachable outside of rooms, and call others. Below them, each usable alone:
//! [`session`] is the QUIC plane without a realtime one, [`realtime`] the realtime plane without a
//! socket, [`roster`] who is there, [`mod@state`] what they share, [`token`] what a join token says of
//! its server.
//!
//! Nothing here is tied to one platform: the same code builds for Windows, Android, macOS and
//! Linux.

mod connect;
mod event;
mod moderation;
mod queue;
pub mod realtime;
mod room;
mod rooms;
pub mod roster;
pub mod session;
mod social;
pub mod state;
pub mod token;

pub use connect::{ConnectOptions, DEFAULT_SERVER, connect};
pub use event::{RoomEvent, Throttle, VoicePacket};
pub use moderation::{Audit, ModerationAct};
pub use nucleus_protocol::groups::Group;
pub use nucleus_protocol::realtime::pose::{Pose, Transform};
pub use nucleus_protocol::realtime::voice::Voice;
pub use nucleus_protocol::session::Code;
pub use nucleus_protocol::time::Time;
pub use room::{Room, RoomStats, StateError, Target};
pub use rooms::{Query, RoomOptions, RoomSelection};
pub use roster::{PeerId, PeerInfo, Presence, Roster, Slot};
pub use session::{ConnectError, JoinError, SendError, To, Trust};
pub use social::{
    CallId, EnterOptions, RoomInfo, Social, SocialError, SocialEvent, Status, UserInfo, enter,
};
pub use state::{Batch, Entity, ObjectId, ObjectMode, StateChange, Value};
