//! The client side of a system, as a state machine that reads no socket and no clock. All systems
//! can therefore share the generator's loop, sockets and time stamps. Times are in µs.

use crate::message::ReceivedMessage;

/// One peer of a system. The generator owns the peer's socket.
pub(crate) trait Client {
    /// Returns the slot that the peer's messages carry at their receivers.
    fn slot(&self) -> u16;

    /// Returns whether the peer has joined, so that its messages are relayed from now on.
    ///
    /// # Errors
    ///
    /// The reason why the peer can no longer join.
    fn is_ready(&self, now: u64) -> Result<bool, String>;

    /// Sends a message frame. Call [`poll_output`](Self::poll_output) afterwards.
    fn send_message(&mut self, now: u64, frame: &[u8]);

    /// Handles a datagram and passes its messages to `deliver`. Call `poll_output` afterwards.
    fn handle_input(
        &mut self,
        arrival: u64,
        datagram: &mut [u8],
        deliver: &mut dyn FnMut(ReceivedMessage<'_>),
    );

    /// Runs timers; called every few ms. Call `poll_output` afterwards.
    fn handle_timeout(&mut self, now: u64);

    /// Writes the next datagram for the server into `out`, which must be empty. Returns `false` if
    /// there is no datagram. Call this method until it returns `false`.
    fn poll_output(&mut self, now: u64, out: &mut Vec<u8>) -> bool;
}
