//! A Nucleus client. It joins a room, sends and receives poses, voice, events and large messages,
//! and reads and changes the room's shared state.
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
//! An application in a room needs only [`connect`] and [`Room`]. With [`enter`] and [`Social`] an
//! application can be called outside of rooms, and can call others.
//!
//! | module | content |
//! |---|---|
//! | [`event`] | the events of a room |
//! | [`roster`] | the peers of a room |
//! | [`mod@state`] | a room's shared state |
//! | [`realtime`] | poses and other messages of the realtime plane |
//! | [`moderation`] | the acts of moderation |
//! | [`token`] | what a client may read from its own join token |
//!
//! The rules are in the crate `nucleus-client-core`, which has no sockets, threads and clocks. An
//! SDK for another engine drives them with what that engine has.
//!
//! The crate contains no platform-specific code: it builds for Windows, Android, macOS and Linux.

mod address;
mod clock;
mod connect;
mod on_drop;
mod provider;
pub mod realtime;
mod room;
// For load generators and benches. It names types of quinn, and may change with every version.
#[doc(hidden)]
pub mod session;
mod social;
mod until;

pub(crate) use nucleus_client_core::rooms;
pub use nucleus_client_core::{RequestNumber, event, moderation, roster, state, token};

pub use clock::ClientClock;
pub use connect::{ConnectOptions, DEFAULT_SERVER, connect};
pub use event::{RoomEvent, Throttle, VoicePacket};
pub use moderation::{Audit, ModerationAct};
pub use nucleus_client_core::playback::{Certainty, ShownPose, VoiceStep};
pub use nucleus_client_core::room::{RefusedAction, RefusedOperation, RenewError, StateError};
pub use nucleus_client_core::rpc::{AnswerError, RpcError, RpcFault, RpcId};
pub use nucleus_client_core::social::{
    CallId, RoomInfo, SocialError, SocialEvent, Status, UserInfo,
};
pub use nucleus_protocol::groups::Group;
pub use nucleus_protocol::realtime::pose::{Pose, PoseError, Transform};
pub use nucleus_protocol::realtime::voice::{END_TO_END, SPURT_START, Voice};
pub use nucleus_protocol::session::{Code, Features};
pub use nucleus_protocol::time::Time;
pub use realtime::{ConnectionFigures, ConnectionQuality, PeerPose};
pub use room::{Room, RoomStats};
pub use rooms::{Query, RoomOptions, RoomSelection};
pub use roster::{PeerId, PeerInfo, Presence, Roster, Slot};
pub use session::{Capabilities, ConnectError, JoinError, ReturnTicket, SendError, To, Trust};
pub use social::{EnterOptions, Social, enter};
pub use state::{Batch, EntityId, ObjectId, ObjectMode, StateChange, StateViews, Value};
