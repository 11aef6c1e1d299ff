//! Creates requests to join like those that the server's session creates from a token.

use nucleus_core::fanout::LinkParameters;
use nucleus_core::room::{JoinConditions, JoinRequest};
use nucleus_protocol::limits::MAX_BODY;
use nucleus_protocol::link::{RootSecret, Suite};
use nucleus_protocol::session::{Features, LinkGrant};
use nucleus_protocol::time::Time;

/// The roles of the simulated users, who get them in turn.
pub const ROLES: [&str; 4] = ["member", "host", "observer", "presenter"];

/// Returns the request of a new participant with this user and role. The keys of the participant's
/// link are derived from `secret`.
pub fn join_request(user: String, role: &str, secret: &[u8; 32]) -> JoinRequest {
    JoinRequest {
        user,
        name: String::new(),
        role: role.into(),
        ticket_end: 0,
        resume: None,
        conditions: JoinConditions::default(),
        grant: Some(LinkGrant {
            connection_id: [0; 8],
            spare: [0; 8],
            secret: *secret,
            suite: 1,
            flags: 0,
            endpoints: Vec::new(),
        }),
        link: LinkParameters {
            link_id: 1,
            suite: Suite::Aes128Gcm,
            root: RootSecret::new(secret, None),
            seed: *secret,
            max_body: MAX_BODY,
        },
        features: Features::SUPPORTED,
        token_expired: false,
        unix_now: 0,
        began: Time::ZERO,
    }
}
