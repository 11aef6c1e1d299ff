//! Messages that later versions will use. Their layout is fixed, and their features are not
//! offered: neither end sends them today.

use rkyv::{Archive, Deserialize, Serialize};

use super::{LinkGrant, SessionSetting};

/// The server asks a client to join again at another server.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The reason, a [`super::Code`].
    pub code: u16,
    /// How long the session still lives, ms.
    pub after_ms: u32,
    /// The servers to try, each as `host:port`.
    pub endpoints: Vec<Vec<u8>>,
}

/// A client asks, in place of a join, for a link that leads to no room. It tests with this link
/// whether the realtime port can be reached.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The join token, a JWT.
    pub token: Vec<u8>,
    /// AEAD suites that the client supports, best first.
    pub suites: Vec<u8>,
    /// As in [`super::Join::largest_body`].
    pub largest_body: u16,
}

/// The server's answer to a [`Probe`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProbeGrant {
    /// The link's id.
    pub link_id: u32,
    /// Keys and addresses of the link: exactly one grant.
    pub grant: Vec<LinkGrant>,
}

/// Settings of the session that have changed. The others stay.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SettingsUpdate {
    /// The new values.
    pub settings: Vec<SessionSetting>,
}
