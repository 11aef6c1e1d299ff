//! Fresh tokens in mid-session. As with every archived message, **a released struct never
//! changes**.

use rkyv::{Archive, Deserialize, Serialize};

/// A client hands in a fresh token of its user. The answer is [`Renewed`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Renew {
    /// The join token, a JWT.
    pub token: Vec<u8>,
}

/// The server's answer to a [`Renew`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// 0, or the [`super::Code`] for which the token is refused. Then nothing has changed.
    pub code: u16,
    /// How long the new ticket admits to another instance of the room, s; 0 if the token is
    /// refused.
    pub ticket_ttl_s: u32,
    /// The new ticket, with the rights of the new token; empty if the token is refused.
    pub ticket: Vec<u8>,
}

/// The server asks for a fresh token.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TokenWanted {
    /// How long the ticket still admits to another instance of the room, s.
    pub within_s: u32,
}
