//! Who makes a request: an API key or a person who is signed in, the tenant and what is allowed.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use nucleus_core::text;

use super::bearer::bearer;
use super::problem::Problem;
use super::request::FromPage;
use super::request_info::RequestInfo;
use super::same_origin::SameOrigin;
use super::signed_in::{self, Viewer};
use super::state::ApiState;
use crate::api_key;
pub(super) use crate::scope::Scope;
use crate::snapshot::Snapshot;
use crate::store::{Actor, Tenant, api_keys};
use crate::timestamp::Timestamp;

/// The tenant to which a caller is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallerTenant {
    pub(super) id: String,
    pub(super) name: String,
}

/// What shows who a caller is.
#[derive(Clone, Debug)]
enum CallerProof {
    /// The key of commands on this machine.
    Local,
    /// The API key with this id.
    Key(String),
    /// The session of a person.
    Session(Box<Viewer>),
}

/// Who makes a request. A route takes it as an argument, so no route can forget to ask for a key.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(super) actor: Actor,
    /// `None`: the whole server.
    pub(super) tenant: Option<CallerTenant>,
    scopes: Vec<Scope>,
    proof: CallerProof,
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
        Err(Problem::forbidden(format!("{} lacks the scope `{scope}`", self.described())))
    }

    /// What it is that allows too little, for people.
    pub(super) fn described(&self) -> &'static str {
        match self.proof {
            CallerProof::Session(_) => "your role",
            CallerProof::Local | CallerProof::Key(_) => "the API key",
        }
    }

    /// Returns the id of the person who is signed in; `None`: the caller has a key.
    pub(super) fn person(&self) -> Option<&str> {
        match &self.proof {
            CallerProof::Session(viewer) => Some(&viewer.person),
            CallerProof::Local | CallerProof::Key(_) => None,
        }
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
            "only an API key or a person of the whole server, without a tenant, may do this",
        ))
    }

    /// Whether what was opened for this caller may stay open: the key is there, neither it nor the licence
    /// of its tenant has ended, and the tenant is switched on and has the name by which it was asked. Of a
    /// person, [`is_signed_in`](Self::is_signed_in) says the rest.
    pub(super) fn is_in_force(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        match &self.proof {
            CallerProof::Local => return true,
            CallerProof::Key(key) => {
                let has_ended = self.expires_at.is_some_and(|end| now >= end);
                if has_ended || !snapshot.api_keys.contains_key(key) {
                    return false;
                }
            }
            CallerProof::Session(_) => {}
        }
        let Some(own) = &self.tenant else { return true };
        snapshot
            .tenants
            .get(&own.id)
            .is_some_and(|tenant| tenant.name == own.name && is_in_force(tenant, now))
    }

    /// Whether the person is still signed in. A caller with a key is.
    pub(super) async fn is_signed_in(&self, state: &ApiState) -> bool {
        match &self.proof {
            CallerProof::Session(viewer) => {
                signed_in::is_signed_in(state, &viewer.session_hash).await
            }
            CallerProof::Local | CallerProof::Key(_) => true,
        }
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

    /// Makes a caller of the person who is signed in.
    ///
    /// # Errors
    ///
    /// The answer to send: nobody is signed in, or a page of another address has sent the request.
    async fn of_viewer(parts: &Parts, state: &ApiState) -> Result<Self, Problem> {
        let viewer = match parts.extensions.get::<FromPage>() {
            Some(FromPage(viewer)) => Viewer::clone(viewer),
            None => signed_in::viewer(parts, state).await?.ok_or_else(Problem::unauthorized)?,
        };
        if !parts.method.is_safe() {
            SameOrigin::check(parts, state)?;
        }
        let snapshot = state.snapshot();
        let own = viewer.tenant.as_ref().and_then(|id| snapshot.tenants.get(id));
        if own.is_some_and(|tenant| !is_in_force(tenant, state.now())) {
            return Err(Problem::forbidden(
                "the licence of the person's tenant has ended, or the tenant is switched off",
            ));
        }
        let tenant = viewer.tenant.clone().zip(viewer.tenant_name.clone());
        Ok(Self {
            actor: viewer.actor(parts),
            tenant: tenant.map(|(id, name)| CallerTenant { id, name }),
            scopes: viewer.role.scopes().to_vec(),
            proof: CallerProof::Session(Box::new(viewer)),
            expires_at: None,
        })
    }
}

/// Whether a tenant is switched on and its licence has not ended.
fn is_in_force(tenant: &Tenant, now: Timestamp) -> bool {
    tenant.active && tenant.ends_at.is_none_or(|end| now < end)
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Self::of_viewer(parts, state).await;
        }
        let info = parts.extensions.get::<RequestInfo>().cloned();
        let RequestInfo { id: request_id, ip } =
            info.unwrap_or(RequestInfo { id: String::new(), ip: String::new() });
        let key = bearer(&parts.headers).ok_or_else(Problem::unauthorized)?;
        // The key of commands on this machine is worth nothing elsewhere.
        let is_local = ip.is_empty() || ip.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if is_local && state.is_local_key(key) {
            let actor = Actor { name: "local".to_owned(), ip, request_id };
            let scopes = Scope::ALL.to_vec();
            let proof = CallerProof::Local;
            return Ok(Self { actor, tenant: None, scopes, proof, expires_at: None });
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
        let proof = CallerProof::Key(id.to_owned());
        Ok(Self { actor, tenant, scopes, proof, expires_at: row.expires_at })
    }
}
