//! Tokens and resume tickets, with the server's rules of admission.

use nucleus_core::room::TicketContent;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use nucleus_sim::join::ROLES;

/// The longest time for which a ticket is plausible, in seconds. The same as the server's.
const MAX_TICKET_TTL: u64 = 604_800;
/// The time at which the simulation begins, in seconds since 1970.
const UNIX_START: u64 = 1_000_000;

/// Returns the time in seconds since 1970.
pub(crate) fn unix(now: Time) -> u64 {
    UNIX_START + now.as_micros() / 1_000_000
}

/// Returns the role of a user.
pub(crate) fn role_of(user: &str) -> &'static str {
    ROLES[user.bytes().map(usize::from).sum::<usize>() % ROLES.len()]
}

/// Returns the token of a user that expires at a time, in seconds since 1970.
pub(crate) fn token(user: &str, expires: u64) -> String {
    format!("{user} {expires}")
}

/// Checks a token, and returns its user.
///
/// # Errors
/// The code to refuse the token with.
pub(crate) fn verify(token: &[u8], unix_now: u64) -> Result<String, Code> {
    let text = std::str::from_utf8(token).map_err(|_| Code::TokenMalformed)?;
    let (user, expires) = text.split_once(' ').ok_or(Code::TokenMalformed)?;
    let expires: u64 = expires.parse().map_err(|_| Code::TokenMalformed)?;
    if expires <= unix_now { Err(Code::TokenExpired) } else { Ok(user.to_owned()) }
}

/// All tickets that a server has sealed with its key. The bytes of a ticket are its number.
#[derive(Default)]
pub(crate) struct SealedTickets {
    contents: Vec<TicketContent>,
    /// Tickets before this one were sealed with an earlier key.
    first: usize,
}

impl SealedTickets {
    pub(crate) fn seal(&mut self, content: TicketContent) -> Vec<u8> {
        self.contents.push(content);
        (self.contents.len() as u64).to_le_bytes().to_vec()
    }

    /// Returns the content of a ticket; `None` if this key has not sealed it.
    pub(crate) fn open(&self, ticket: &[u8]) -> Option<&TicketContent> {
        let number = u64::from_le_bytes(ticket.try_into().ok()?) as usize;
        self.contents.get(number.checked_sub(1)?).filter(|_| number > self.first)
    }

    /// Changes the key: all earlier tickets are invalid.
    pub(crate) fn change_key(&mut self) {
        self.first = self.contents.len();
    }
}

/// Returns whether a ticket admits its user to another instance of its room.
pub(crate) fn admits(content: &TicketContent, unix_now: u64) -> bool {
    (unix_now..=unix_now + MAX_TICKET_TTL).contains(&content.end)
}
