//! API keys, and issuers of join tokens.

use askama::Template;

use super::parts::Choice;
use crate::markup::Mark;
use crate::name::ShownName;
use crate::shell::PageShell;
use crate::shown_time::ShownTime;

/// The keys of the whole server, and a key that was made just now.
#[derive(Clone, Debug, Template)]
#[template(path = "keys.html")]
pub struct KeysPage {
    /// What stands around the screen.
    pub shell: PageShell,
    /// The base path of the dashboard, as in the shell.
    pub base: String,
    /// The tenant's id, whose keys are shown; absent: those of the whole server.
    pub id: Option<String>,
    /// The tenant's name.
    pub tenant: Option<ShownName>,
    /// The new key with its secret. It is shown once.
    pub new_key: Option<String>,
    /// The keys.
    pub keys: Vec<KeyRow>,
    /// The scopes that a new key may have: what the reader has.
    pub scopes: Vec<Choice>,
}

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The id.
    pub id: String,
    /// What the key is for.
    pub name: ShownName,
    /// What the key allows, as `read, operate`.
    pub scopes: String,
    /// Whether the key works.
    pub mark: Mark,
    /// When it was last used.
    pub last_used_at: ShownTime,
    /// From when on it is refused.
    pub expires_at: ShownTime,
    /// Whether it can be revoked.
    pub is_active: bool,
}

/// An issuer of join tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRow {
    /// The id.
    pub id: String,
    /// What the issuer is.
    pub name: ShownName,
    /// The algorithm and key id, or the address of the published keys.
    pub key: ShownName,
    /// Whether its keys are known.
    pub mark: Mark,
    /// When published keys were last fetched.
    pub keys_at: ShownTime,
}
