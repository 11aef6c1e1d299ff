//! What a link counts, and the small enums its operations answer with.

/// Why a datagram was refused. The answer to all of them is silence and a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejected {
    /// Not a realtime datagram at all: its length or its form.
    #[error("not a realtime datagram")]
    Header,
    /// Names another link.
    #[error("another link's connection id")]
    ConnectionId,
    /// A client got it from somewhere else than its server.
    #[error("not from the server's address")]
    Path,
    /// Sealed with a phase that is over or that cannot have begun.
    #[error("unknown key phase")]
    Phase,
    /// Its packet number was seen before.
    #[error("replayed packet number")]
    Replayed,
    /// Its packet number lies behind the replay window.
    #[error("packet number too old")]
    TooOld,
    /// The tag does not verify.
    #[error("not authentic")]
    Tag,
    /// Authentic, but its body is not a sequence of frames: the peer is broken.
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

/// The link has sent all the packets its keys allow; the session must replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link has no packet numbers left")]
pub struct Exhausted;

/// What the server did with a message that a recipient did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// Past its age limit, a newer one makes up for it.
    Superseded,
    /// Withheld on purpose: over the recipient's budget, or out of its interest.
    Suppressed,
    /// A limit of the server was reached.
    Dropped,
}

/// Cumulative counts of one end of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Authentic datagrams received.
    pub datagrams_in: u64,
    /// Bytes of the same, headers and tags included.
    pub bytes_in: u64,
    /// Datagrams sealed.
    pub datagrams_out: u64,
    /// Bytes of the same, headers and tags included.
    pub bytes_out: u64,
    /// Datagrams refused, in the order of [`Rejected::ALL`].
    pub rejected: [u64; Rejected::ALL.len()],
    /// Times that the path moved to another address (server).
    pub path_changes: u64,
}

impl LinkCounters {
    /// Datagrams refused for `reason`.
    pub fn rejected_for(&self, reason: Rejected) -> u64 {
        self.rejected[reason as usize]
    }

    /// Datagrams whose packet number had been seen before.
    pub fn replayed(&self) -> u64 {
        self.rejected_for(Rejected::Replayed)
    }

    pub(super) fn reject(&mut self, reason: Rejected) {
        self.rejected[reason as usize] += 1;
    }
}
