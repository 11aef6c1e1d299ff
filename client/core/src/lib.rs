//! The client's rules: what a client of a Nucleus server does, without sockets, threads, clocks and
//! randomness. The caller passes in the time, what has arrived, and random numbers.
//!
//! The crate `nucleus-client` drives these rules with quinn and tokio. An SDK for another engine
//! drives them with what that engine has.
//!
//! | module | content |
//! |---|---|
//! | [`session`] | which server a client tries, when it tries again, and which events it keeps until the server has them |
//! | [`realtime`] | the messages of the realtime plane |
//! | [`roster`] | the peers of a room |
//! | [`mod@state`] | a room's shared state |
//! | [`assembly`] | the messages of the bulk lane |
//! | [`event`] | the events that a room delivers to the application |
//! | [`moderation`] | the acts of moderation |
//! | [`rpc`] | requests of one peer to another, and their answers |
//! | [`playback`] | which moment of the others an application shows |
//! | [`rooms`] | how a join selects a room |
//! | [`token`] | what a client may read from its own join token |

pub mod assembly;
pub mod event;
mod limits;
pub mod moderation;
pub mod playback;
pub mod realtime;
mod refusal;
mod requests;
pub mod room;
pub mod rooms;
pub mod roster;
pub mod rpc;
pub mod session;
mod sized;
pub mod social;
pub mod state;
pub mod token;

pub use requests::RequestNumber;
