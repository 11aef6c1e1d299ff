//! `issuers`: who signs the join tokens of a tenant, besides the server's own web server.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nucleus_tokens::VerificationKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, JsonBody, ListPage, OwnedPageQuery, RowOwner, UrlQuery, plain};
use super::idempotency::Idempotency;
use super::problem::Problem;
use super::responses::{Common, OfBody, OfOne};
use super::state::ApiState;
use crate::issuers::{KeysError, algorithm, fetch_keys};
use crate::store::{Issuer, NewIssuer, PageRequest, StoreError, issuers};

/// Most bytes of an issuer's name.
const MAX_NAME: usize = 128;
/// Most bytes of a key's id and of an audience.
const MAX_ID: usize = 128;
/// Most bytes of an address of keys.
const MAX_URL: usize = 512;
/// Most bytes of a public key, PEM: an RSA key of 4096 bits has 800.
const MAX_PEM: usize = 2_048;
/// Most issuers of a tenant.
const MAX_ISSUERS: u32 = 8;
/// Most keys of a tenant with one algorithm and without an id. A token is checked against four keys at
/// most, and the server's is the first.
const MAX_NAMELESS: usize = 3;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}

/// An issuer to be made: `algorithm` and `public_key`, or `jwks_url`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IssuerBody {
    /// What the issuer is, for people.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// The id of the tenant; absent: the tenant of the caller's key.
    #[serde(default)]
    tenant: Option<String>,
    /// The algorithm of the key: `EdDSA`, `ES256` or `RS256`.
    #[serde(default)]
    algorithm: Option<String>,
    /// The public key, PEM.
    #[serde(default)]
    #[schema(max_length = 2048)]
    public_key: Option<String>,
    /// The id that tokens must name as `kid`; absent: the key verifies whatever they name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    kid: Option<String>,
    /// Where the issuer publishes its keys (JWK Set): `https`, on the public internet unless the
    /// server's configuration says otherwise. Redirects are not followed. The keys are fetched at once,
    /// then every ten minutes, and when a token names an unknown one.
    #[serde(default)]
    #[schema(max_length = 512)]
    jwks_url: Option<String>,
    /// The audience that the tokens must name in `aud`; absent: that of the server.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    audience: Option<String>,
}

/// The issuers that the key may see, in the order of their making.
#[utoipa::path(
    get,
    path = "/issuers",
    operation_id = "list_issuers",
    tag = "issuers",
    params(OwnedPageQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of issuers", body = ListPage<Issuer>), Common, OfOne)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<OwnedPageQuery>,
) -> Result<Json<ListPage<Issuer>>, Problem> {
    caller.needs(Scope::Read)?;
    let (owner, page) = query.check(&caller)?;
    let found = match &owner {
        RowOwner::Any => issuers::list(state.database(), None, &page).await?,
        RowOwner::Tenant(tenant) => issuers::list(state.database(), Some(tenant), &page).await?,
        // Every issuer has a tenant.
        RowOwner::Server => Vec::new(),
    };
    Ok(Json(ListPage::new(found, page.limit, |issuer| &issuer.id)))
}

/// Makes an issuer: from then on, the server takes join tokens of the tenant that it has signed. The key
/// needs the scope `tokens` as well.
#[utoipa::path(
    post,
    path = "/issuers",
    operation_id = "create_issuer",
    tag = "issuers",
    params(("idempotency-key" = Option<String>, Header, description = "Sent again: carried out once")),
    request_body = IssuerBody,
    security(("key" = ["manage"])),
    responses((status = 201, description = "The issuer", body = Issuer), Common, OfOne, OfBody)
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    idempotency: Idempotency,
    JsonBody(body): JsonBody<IssuerBody>,
) -> Result<Response, Problem> {
    caller.needs(Scope::Manage)?;
    // Who may say whose tokens count may make tokens.
    caller.needs(Scope::Tokens)?;
    if let Some(earlier) = idempotency.earlier(&state, &caller, &body).await? {
        return Ok(earlier);
    }
    let mut new = check(&caller, &body)?;
    check_number(&state, &new).await?;
    if let Some(url) = &new.jwks_url {
        new.keys = Some(published(&state, &caller, url).await?);
    }
    let mut change = state.begin(&caller.actor).await?;
    let issuer = issuers::create(&mut change, &new, MAX_ISSUERS).await?;
    idempotency.keep(&state, &mut change, &caller, &body, &issuer).await?;
    state.commit(change).await?;
    Ok((StatusCode::CREATED, Json(issuer)).into_response())
}

/// Checks that the tenant may have another issuer, before others are asked for its keys.
async fn check_number(state: &ApiState, new: &NewIssuer) -> Result<(), Problem> {
    let all = PageRequest { after: None, limit: MAX_ISSUERS };
    let others = issuers::list(state.database(), Some(&new.tenant), &all).await?;
    if others.len() >= MAX_ISSUERS as usize {
        return Err(StoreError::TooMany("issuers of the tenant", MAX_ISSUERS).into());
    }
    let is_alike = |other: &&Issuer| other.kid.is_none() && other.algorithm == new.algorithm;
    let is_nameless = new.public_key.is_some() && new.kid.is_none();
    if is_nameless && others.iter().filter(is_alike).count() >= MAX_NAMELESS {
        return Err(Problem::conflict(format!(
            "the tenant has {MAX_NAMELESS} keys of this algorithm without `kid`, and a token is \
             checked against no more: give `kid`, and let the tokens name it"
        )));
    }
    Ok(())
}

/// Fetches the keys of a new issuer.
async fn published(state: &ApiState, caller: &Caller, url: &str) -> Result<String, Problem> {
    let _place = state.outgoing(caller.tenant_id())?;
    let refused = |why: &str| Problem::invalid(format!("`jwks_url`: {why}"));
    let fetched = fetch_keys(url, state.settings().private_addresses).await;
    let fetched = fetched.map_err(|error| match error {
        // The names and ports of the operator's network are no tenant's business.
        KeysError::Unreachable(why) if caller.tenant_id().is_some() => {
            tracing::info!(%why, "a tenant's issuer cannot be reached");
            refused("no web server of the public internet answers there")
        }
        error => refused(&error.to_string()),
    })?;
    if fetched.keys.is_empty() {
        return Err(refused(
            "no key in it is for EdDSA (Ed25519), ES256 (P-256) or RS256 (2048 to 4096 bits)",
        ));
    }
    Ok(fetched.text)
}

/// Checks the values of an issuer to be made.
fn check(caller: &Caller, body: &IssuerBody) -> Result<NewIssuer, Problem> {
    let tenant = body.tenant.clone().or_else(|| caller.tenant_id().map(str::to_owned));
    let tenant = tenant.ok_or_else(|| Problem::invalid("`tenant` is missing"))?;
    if !caller.sees(&tenant) {
        return Err(Problem::not_found("there is no such tenant"));
    }
    let text = |field, text: &Option<String>| {
        text.as_ref().map(|text| plain(field, text, MAX_ID)).transpose()
    };
    let new = NewIssuer {
        tenant,
        name: plain("name", &body.name, MAX_NAME)?,
        algorithm: body.algorithm.clone(),
        kid: text("kid", &body.kid)?,
        public_key: body.public_key.clone(),
        jwks_url: body.jwks_url.clone(),
        audience: text("audience", &body.audience)?,
        keys: None,
    };
    match (&new.algorithm, &new.public_key, &new.jwks_url) {
        (Some(name), Some(pem), None) => {
            let algorithm = algorithm(name)
                .ok_or_else(|| Problem::invalid("`algorithm` must be EdDSA, ES256 or RS256"))?;
            if pem.len() > MAX_PEM {
                return Err(Problem::invalid(format!("`public_key` may have {MAX_PEM} bytes")));
            }
            VerificationKey::from_public_pem(algorithm, pem.as_bytes())
                .map_err(|why| Problem::invalid(format!("`public_key`: {why}")))?;
        }
        (None, None, Some(url)) => {
            if new.kid.is_some() {
                return Err(Problem::invalid("`kid` is of `public_key`: published keys have ids"));
            }
            if url.len() > MAX_URL || url.contains(['@', '#']) {
                return Err(Problem::invalid(format!(
                    "`jwks_url` may have {MAX_URL} bytes, and no user, password or fragment"
                )));
            }
        }
        _ => {
            return Err(Problem::invalid(
                "give either `algorithm` and `public_key`, or `jwks_url`",
            ));
        }
    }
    Ok(new)
}

/// Deletes an issuer: its tokens are refused from then on. Running sessions stay.
#[utoipa::path(
    delete,
    path = "/issuers/{id}",
    operation_id = "delete_issuer",
    tag = "issuers",
    params(("id" = String, Path, description = "The issuer's id")),
    security(("key" = ["manage"])),
    responses((status = 204, description = "It is gone"), Common, OfOne)
)]
async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    caller.needs(Scope::Manage)?;
    let mut change = state.begin(&caller.actor).await?;
    issuers::delete(&mut change, caller.tenant_id(), &id).await?;
    state.commit(change).await?;
    Ok(StatusCode::NO_CONTENT)
}
