//! The counters of a shard, plain numbers that the shell publishes.

use super::histograms::FanoutHistograms;

/// How the page of metrics shows a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterMetric {
    /// A metric of its own, of this name.
    Own(&'static str),
    /// Among everything that was dropped, with this reason.
    Drop(&'static str),
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ident $metric:literal,)*) => {
        /// The counters of a shard since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct FanoutCounters {
            $($(#[doc = $doc])* pub $name: u64,)*
            /// The histograms.
            pub histograms: FanoutHistograms,
        }

        impl FanoutCounters {
            /// How the page shows each counter, and its explanation, in order.
            pub const METRICS: &[(CounterMetric, &str)] =
                &[$((CounterMetric::$kind($metric), concat!($($doc),*)),)*];

            /// Returns the values of the counters, in the order of [`Self::METRICS`].
            pub fn values(&self) -> [u64; Self::METRICS.len()] {
                [$(self.$name,)*]
            }

            /// Returns the counters with these values, in the order of [`Self::METRICS`], and with empty
            /// histograms.
            pub fn of_values(values: [u64; Self::METRICS.len()]) -> Self {
                let [$($name,)*] = values;
                Self { $($name,)* histograms: FanoutHistograms::default() }
            }
        }
    };
}

counters! {
    /// Datagrams received.
    datagrams_in: Own "datagrams_in",
    /// Bytes received.
    bytes_in: Own "received_bytes",
    /// Datagrams of another protocol.
    not_ours: Drop "not_ours",
    /// Datagrams with a connection id that names no link.
    unknown_id: Drop "unknown_id",
    /// Datagrams on the realtime port over the rate of their link, dropped unread.
    datagrams_over_rate: Drop "datagram_rate",
    /// Datagrams that did not authenticate, were replayed, or were malformed.
    rejected: Drop "rejected",
    /// Messages received.
    messages_in: Own "messages_in",
    /// Messages over their sender's rate.
    over_rate: Drop "message_rate",
    /// Poses and voice messages that are too short for the fields of their kind.
    incomplete: Drop "incomplete",
    /// Messages that were captured more than a second before they arrived: they waited in a buffer
    /// that nobody read.
    too_old: Drop "too_old",
    /// Voice messages over the speaker limit of their room.
    over_speakers: Drop "speakers",
    /// Voice messages of muted peers.
    muted: Drop "muted",
    /// Messages refused because their target is invalid or the room's frame table is full.
    refused_messages: Drop "refused",
    /// Datagrams handed to the kernel.
    datagrams_out: Own "datagrams_out",
    /// Bytes handed to the kernel.
    bytes_out: Own "sent_bytes",
    /// Messages handed to the kernel.
    messages_out: Own "messages_out",
    /// Datagrams received from sessions: those of clients on the fallback, and keep-alives.
    session_datagrams_in: Own "session_datagrams_in",
    /// Datagrams handed to sessions, for clients on the fallback.
    session_datagrams_out: Own "session_datagrams_out",
    /// Datagrams dropped because their session has ended or its queue is full.
    session_datagrams_dropped: Drop "session_queue",
    /// Misdirected datagrams handed over to the shard that they belong to.
    handed_over: Own "handed_over",
    /// Misdirected datagrams dropped, because no link has their id or the other shard's mailbox is
    /// full.
    misdirected_dropped: Drop "misdirected",
    /// Figures of clients that cannot be true: reports of datagrams that were not sent to them, and packet
    /// numbers that were left out faster than a client may send.
    false_figures: Own "false_figures",
    /// Messages not sent because they were past their age limit.
    superseded: Own "superseded",
    /// Messages not sent because they exceeded a recipient's budget.
    suppressed: Own "suppressed",
    /// Messages not sent because nothing has arrived on the recipient's link yet.
    dropped: Drop "no_address",
}
