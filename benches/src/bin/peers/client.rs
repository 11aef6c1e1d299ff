//! What the generator knows of a system: a peer's side of it as a state machine that neither reads a
//! socket nor a clock. So all systems share one loop, one kind of socket and one way of time stamps.

use crate::message::Heard;

/// One peer of a system; the generator owns its socket.
pub(crate) trait Client {
    /// The slot under which the others hear it.
    fn slot(&self) -> u16;

    /// It has joined: what it says from now on is relayed. `Err` when it never will be.
    fn is_ready(&self, now: u64) -> Result<bool, String>;

    /// Says a message frame; drain [`poll_output`](Self::poll_output) then.
    fn say(&mut self, now: u64, frame: &[u8]);

    /// Takes in a datagram and tells `hear` the messages in it; drain `poll_output` then.
    fn handle_input(&mut self, arrival: u64, datagram: &mut [u8], hear: &mut dyn FnMut(Heard<'_>));

    /// Called every few ms; drain `poll_output` then.
    fn handle_timeout(&mut self, now: u64);

    /// Puts the next datagram for the server into `out`, which is empty; `false` when there is none.
    fn poll_output(&mut self, now: u64, out: &mut Vec<u8>) -> bool;
}
