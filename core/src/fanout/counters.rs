//! The counters of a shard, plain numbers that the shell publishes.

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident $(as $metric:literal)?,)*) => {
        /// The counters of a shard since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct FanoutCounters { $($(#[doc = $doc])* pub $name: u64,)* }

        impl FanoutCounters {
            /// The metric name and the explanation of each counter, in order.
            pub const NAMES: &[(&str, &str)] =
                &[$((metric_name!($name $($metric)?), concat!($($doc),*)),)*];

            /// Returns the values of the counters, in the order of [`Self::NAMES`].
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name,)*]
            }
        }
    };
}

/// The metric name of a counter: the name of its field, unless another one is given.
macro_rules! metric_name {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $metric:literal) => {
        $metric
    };
}

counters! {
    /// Datagrams received.
    datagrams_in,
    /// Bytes received.
    bytes_in,
    /// Datagrams of another protocol.
    not_ours,
    /// Datagrams with a connection id that names no link.
    unknown_id,
    /// Datagrams on the realtime port over the rate of their link, dropped unread.
    datagrams_over_rate,
    /// Datagrams that did not authenticate, were replayed, or were malformed.
    rejected,
    /// Messages received.
    messages_in,
    /// Messages over their sender's rate.
    over_rate,
    /// Poses and voice messages that are too short for the fields of their kind.
    incomplete,
    /// Messages that were captured more than a second before they arrived: they waited in a buffer
    /// that nobody read.
    too_old,
    /// Voice messages over the speaker limit of their room.
    over_speakers,
    /// Voice messages of muted peers.
    muted,
    /// Messages refused because their target is invalid or the room's frame table is full.
    refused_messages,
    /// Datagrams handed to the kernel.
    datagrams_out,
    /// Bytes handed to the kernel.
    bytes_out,
    /// Messages handed to the kernel.
    messages_out,
    /// Datagrams received from sessions: those of clients on the fallback, and keep-alives.
    session_datagrams_in,
    /// Datagrams handed to sessions, for clients on the fallback.
    session_datagrams_out,
    /// Datagrams dropped because their session has ended or its queue is full.
    session_datagrams_dropped,
    /// Misdirected datagrams handed over to the shard that they belong to.
    handed_over,
    /// Misdirected datagrams dropped, because no link has their id or the other shard's mailbox is
    /// full.
    misdirected_dropped as "strays_dropped",
    /// Messages not sent because they were past their age limit.
    superseded,
    /// Messages not sent because they exceeded a recipient's budget.
    suppressed,
    /// Messages not sent because nothing has arrived on the recipient's link yet.
    dropped,
}
