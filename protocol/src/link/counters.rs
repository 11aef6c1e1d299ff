//! A link's counters, and the small enums that its operations return.

/// The reason why a datagram was refused. The link counts such a datagram and never answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejected {
    /// The datagram's length or form is not that of a realtime datagram.
    #[error("not a realtime datagram")]
    Header,
    /// The datagram names another link.
    #[error("another link's connection id")]
    ConnectionId,
    /// A client received the datagram from an address that is not its server's.
    #[error("not from the server's address")]
    Path,
    /// The datagram's key phase has ended, or cannot have begun yet.
    #[error("unknown key phase")]
    Phase,
    /// The packet number was received before.
    #[error("replayed packet number")]
    Replayed,
    /// The packet number lies below the replay window.
    #[error("packet number too old")]
    TooOld,
    /// The tag does not verify.
    #[error("not authentic")]
    Tag,
    /// The datagram is authentic, but its body is not a sequence of frames: the peer is faulty.
    #[error("malformed body")]
    Malformed,
}

impl Rejected {
    /// Every reason, in the order of [`LinkCounters::rejected`].
    pub const ALL: [Rejected; 8] = [
        Rejected::Header,
        Rejected::ConnectionId,
        Rejected::Path,
        Rejected::Phase,
        Rejected::Replayed,
        Rejected::TooOld,
        Rejected::Tag,
        Rejected::Malformed,
    ];
}

/// The link has used all its packet numbers. The client must join again to get a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link has no packet numbers left")]
pub struct Exhausted;

/// The reason why the server did not deliver a message to a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// The message was past its age limit, and a newer one replaced it.
    Superseded,
    /// The recipient's budget was used up.
    Suppressed,
    /// Nothing had arrived from the recipient on its link yet.
    Dropped,
}

/// Cumulative counts of one end of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Authentic datagrams received.
    pub datagrams_in: u64,
    /// Bytes of these datagrams, headers and tags included.
    pub bytes_in: u64,
    /// Datagrams written, on either plane.
    pub datagrams_out: u64,
    /// Bytes of these datagrams, headers and tags included.
    pub bytes_out: u64,
    /// Datagrams refused, in the order of [`Rejected::ALL`].
    pub rejected: [u64; Rejected::ALL.len()],
    /// How often a server's active path changed; 0 on a client.
    pub path_changes: u64,
}

impl LinkCounters {
    /// Returns the number of datagrams refused for `reason`.
    pub fn rejected_for(&self, reason: Rejected) -> u64 {
        self.rejected[reason as usize]
    }

    /// Returns the number of datagrams whose packet number had been received before.
    pub fn replayed(&self) -> u64 {
        self.rejected_for(Rejected::Replayed)
    }

    pub(super) fn reject(&mut self, reason: Rejected) {
        self.rejected[reason as usize] += 1;
    }
}

/// How many datagrams of one direction have arrived on the realtime port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramCounts {
    /// Largest packet number received; 0 before the first.
    pub largest: u32,
    /// Number of authentic datagrams received, wrapping.
    pub received: u32,
}
