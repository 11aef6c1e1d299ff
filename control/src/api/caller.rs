//! Who makes a request: the API key, its tenant and what it allows.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use nucleus_core::text;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bearer::bearer;
use super::problem::Problem;
use super::request::RequestInfo;
use super::state::ApiState;
use crate::api_key;
use crate::snapshot::Snapshot;
use crate::store::{Actor, Tenant, api_keys};
use crate::timestamp::Timestamp;

/// What an API key allows.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read everything but secrets.
    Read,
    /// Act on rooms and peers: close, lock, hide, mute, kick, ban; drain the server.
    Operate,
    /// Sign join tokens.
    Tokens,
    /// Change tenants, keys, issuers and webhooks.
    Manage,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Read, Self::Operate, Self::Tokens, Self::Manage];

    /// Returns the name that keys and the API use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Tokens => "tokens",
            Self::Manage => "manage",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(())
    }
}

/// The tenant to which a key is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallerTenant {
    pub(super) id: String,
    pub(super) name: String,
}

/// Who makes a request. A route takes it as an argument, so no route can forget to ask for a key.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) actor: Actor,
    /// `None`: the whole server.
    pub(super) tenant: Option<CallerTenant>,
    scopes: Vec<Scope>,
    /// The id of the API key; `None`: the key of commands on this machine.
    key: Option<String>,
    /// When the key ends; `None`: never.
    pub(super) expires_at: Option<Timestamp>,
}

impl Caller {
    /// Checks that the key has a scope.
    ///
    /// # Errors
    ///
    /// The answer to send.
    pub(super) fn needs(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("the API key lacks the scope `{scope}`")))
    }

    /// Checks that the key is for the whole server and has a scope.
    ///
    /// # Errors
    ///
    /// The answer to send.
    pub(super) fn needs_server(&self, scope: Scope) -> Result<(), Problem> {
        self.needs(scope)?;
        if self.tenant.is_none() {
            return Ok(());
        }
        Err(Problem::forbidden(
            "only an API key of the whole server, without a tenant, allows this",
        ))
    }

    /// Whether what was opened for this caller may stay open: the key is there, neither it nor the licence
    /// of its tenant has ended, and the tenant is switched on and has the name by which it was asked.
    pub(super) fn is_in_force(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let Some(key) = &self.key else { return true };
        if self.expires_at.is_some_and(|end| now >= end) || !snapshot.api_keys.contains_key(key) {
            return false;
        }
        let Some(own) = &self.tenant else { return true };
        snapshot
            .tenants
            .get(&own.id)
            .is_some_and(|tenant| tenant.name == own.name && is_in_force(tenant, now))
    }

    /// Returns the id of the tenant to which the answer is limited; `None`: none.
    pub(super) fn tenant_id(&self) -> Option<&str> {
        self.tenant.as_ref().map(|tenant| tenant.id.as_str())
    }

    /// Returns the name of the tenant to which the caller is limited; `None`: none.
    pub(super) fn tenant_name(&self) -> Option<&str> {
        self.tenant.as_ref().map(|tenant| tenant.name.as_str())
    }

    /// Returns the id of the tenant that a body names, or else of the caller's own.
    ///
    /// # Errors
    ///
    /// The answer to send: there is none, or the caller may not know of it.
    pub(super) fn tenant_of_body(&self, named: Option<String>) -> Result<String, Problem> {
        let tenant = named.or_else(|| self.tenant_id().map(str::to_owned));
        let tenant = tenant.ok_or_else(|| Problem::invalid("`tenant` is missing"))?;
        if self.sees(&tenant) {
            return Ok(tenant);
        }
        Err(Problem::not_found("there is no such tenant"))
    }

    /// Whether the caller may know of a tenant.
    pub(super) fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_ref().is_none_or(|own| own.id == tenant)
    }

    /// Whether the caller may know of what belongs to the tenant of this name.
    pub(super) fn sees_named(&self, tenant: &str) -> bool {
        self.tenant.as_ref().is_none_or(|own| own.name == tenant)
    }

    /// Explains an empty answer to a filter by the name of a tenant. A tenant that is in no database may have
    /// rooms all the same, so only an answer without a row is an error.
    ///
    /// # Errors
    ///
    /// The answer to send: a key of the whole server asks for a tenant that is not there.
    pub(super) fn explain_empty(
        &self,
        state: &ApiState,
        name: Option<&str>,
    ) -> Result<(), Problem> {
        let snapshot = state.snapshot();
        let is_known = |name: &&str| {
            // The list of another tenant is as empty for a tenant's key as that of none.
            self.tenant.is_some() || snapshot.revision < 0 || snapshot.tenant_named(name).is_some()
        };
        match name.filter(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => Err(Problem::not_found(format!(
                "nothing is found, and there is no tenant {} in the database",
                text::printable(name)
            ))),
        }
    }

    /// Whether the caller may hand out a scope: nobody gives more than they have.
    pub(super) fn may_grant(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Whether a tenant is switched on and its licence has not ended.
fn is_in_force(tenant: &Tenant, now: Timestamp) -> bool {
    tenant.active && tenant.ends_at.is_none_or(|end| now < end)
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let info = parts.extensions.get::<RequestInfo>().cloned();
        let RequestInfo { id: request_id, ip } =
            info.unwrap_or(RequestInfo { id: String::new(), ip: String::new() });
        let key = bearer(&parts.headers).ok_or_else(Problem::unauthorized)?;
        // The key of commands on this machine is worth nothing elsewhere.
        let is_local = ip.is_empty() || ip.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if is_local && state.is_local_key(key) {
            let actor = Actor { name: "local".to_owned(), ip, request_id };
            let scopes = Scope::ALL.to_vec();
            return Ok(Self { actor, tenant: None, scopes, key: None, expires_at: None });
        }
        let (id, secret) = api_key::parse(key).ok_or_else(Problem::unauthorized)?;
        let snapshot = state.snapshot();
        if snapshot.revision < 0 {
            return Err(Problem::unavailable(
                "the database does not answer, so no API key is known",
            ));
        }
        let (row, hash) = snapshot.api_keys.get(id).ok_or_else(Problem::unauthorized)?;
        let now = state.now();
        if !api_key::matches(secret, hash) || row.expires_at.is_some_and(|end| now >= end) {
            return Err(Problem::unauthorized());
        }
        let tenant = match &row.tenant {
            None => None,
            Some(tenant) => {
                let tenant = snapshot.tenants.get(tenant).ok_or_else(Problem::unauthorized)?;
                if !is_in_force(tenant, now) {
                    return Err(Problem::forbidden(
                        "the licence of the key's tenant has ended, or the tenant is switched off",
                    ));
                }
                Some(CallerTenant { id: tenant.id.clone(), name: tenant.name.clone() })
            }
        };
        // A key works also while the database does not answer, and no request waits for this.
        if state.key_uses().is_due(id, now) {
            let (database, id) = (state.database().clone(), id.to_owned());
            drop(tokio::spawn(async move {
                if let Err(error) = api_keys::note_use(&database, &id, now).await {
                    tracing::debug!(%error, "the use of an API key cannot be noted");
                }
            }));
        }
        let actor = Actor { name: format!("key:{id}"), ip, request_id };
        let scopes = row.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
        Ok(Self { actor, tenant, scopes, key: Some(id.to_owned()), expires_at: row.expires_at })
    }
}
