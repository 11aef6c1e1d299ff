//! What a shard counts: plain numbers, published by the shell.

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counts since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct FanoutCounters { $($(#[doc = $doc])* pub $name: u64,)* }

        impl FanoutCounters {
            /// Names and explanations of the counters, in order.
            pub const NAMES: &[(&str, &str)] = &[$((stringify!($name), concat!($($doc),*)),)*];

            /// Their values, in the same order.
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name,)*]
            }
        }
    };
}

counters! {
    /// Datagrams received.
    datagrams_in,
    /// Bytes received.
    bytes_in,
    /// Datagrams that are none of this protocol.
    not_ours,
    /// Datagrams with a connection id that names no link.
    unknown_id,
    /// Datagrams that did not authenticate, were replayed, or were malformed.
    rejected,
    /// Messages received.
    messages_in,
    /// Messages over their sender's rate.
    over_rate,
    /// Voice of peers for whom the floor of their room had no place.
    over_speakers,
    /// Voice of peers who are muted.
    muted,
    /// Messages refused: no such target, or the room's table is full.
    refused_messages,
    /// Datagrams handed to the kernel.
    datagrams_out,
    /// Bytes handed to the kernel.
    bytes_out,
    /// Messages handed to the kernel.
    messages_out,
    /// Datagrams taken from sessions: of clients on the fallback, and signs of life.
    session_datagrams_in,
    /// Datagrams handed to sessions: to clients on the fallback.
    session_datagrams_out,
    /// Datagrams for sessions that did not take them, or are gone.
    session_datagrams_dropped,
    /// Datagrams that belonged to another shard, handed over to it.
    handed_over,
    /// Datagrams with another shard's connection id that is nobody's, or that it had no room for.
    strays_dropped,
    /// Messages past their age limit.
    superseded,
    /// Messages withheld for a recipient's budget.
    suppressed,
    /// Messages for peers whose client has not spoken on its link yet.
    dropped,
}
