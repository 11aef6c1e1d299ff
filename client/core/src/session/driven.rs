//! The contract by which a shell drives a client, whatever its sessions are for.

use nucleus_protocol::time::Time;

use super::ClientSession;
use super::step::{SessionInput, SessionOutput};

/// An output of a client.
pub enum ClientOutput<O> {
    /// An output of its session.
    Session(SessionOutput),
    /// An output of its own kind.
    Own(O),
}

/// A client that a shell drives: [`RoomClient`](crate::room::RoomClient) and
/// [`SocialClient`](crate::social::SocialClient).
pub trait DrivenClient {
    /// The outputs of its own kind.
    type Output;
    /// The events for the application.
    type Event;

    /// Handles an input of the session.
    fn handle(&mut self, now: Time, input: SessionInput<'_>);

    /// Does the work that is due at `now`.
    fn handle_timeout(&mut self, now: Time);

    /// Returns when [`Self::handle_timeout`] must be called next.
    fn deadline(&self) -> Option<Time>;

    /// Returns the next output. The shell asks after each call of any method that changes
    /// something, until there is none.
    fn poll(&mut self) -> Option<ClientOutput<Self::Output>>;

    /// Takes the next event for the application.
    fn take_event(&mut self, now: Time) -> Option<Self::Event>;

    /// Returns whether so many events wait for the application that the session is not read.
    fn is_behind(&self) -> bool;

    /// Returns the token of the next join.
    fn join_token(&self) -> &str;

    /// Returns the session, to ask what it wants.
    fn session(&self) -> &ClientSession;
}
