//! `webhooks`: addresses that are told of events.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, uri::Scheme};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, JsonBody, ListPage, PageQuery, SwitchBody, UrlQuery, plain};
use super::idempotency::Idempotency;
use super::problem::Problem;
use super::responses::{Common, OfBody, OfOne};
use super::state::ApiState;
use crate::events::PlaneEventKind;
use crate::fetch::{self, HostPlace};
use crate::store::{NewWebhook, Webhook, webhooks};

/// Most bytes of a webhook's name.
const MAX_NAME: usize = 128;
/// Most bytes of an address.
const MAX_URL: usize = 512;
/// Why a server tells a webhook nothing that a server with another key has made.
pub(super) const OTHER_KEY: &str = "the webhook was made by a server with another `webhook-key` in its data directory, which alone can \
     sign for it: restore that file, or delete the webhook and make it again";
/// Most webhooks of a tenant, and of the whole server. Each event is written once for each.
const MAX_WEBHOOKS: u32 = 8;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
        .routes(routes!(switch))
}

/// A webhook to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WebhookBody {
    /// What the webhook is for, for people.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// The id of the tenant whose events are told; absent: the tenant of the caller's key, or all tenants
    /// if that key has none.
    #[serde(default)]
    tenant: Option<String>,
    /// Where the events are sent. For a tenant's webhook, whoever makes it, `https` and on the public
    /// internet unless the server's configuration says otherwise. A host whose name is not found is
    /// accepted, with `problem`. Redirects are not followed.
    #[schema(max_length = 512)]
    url: String,
    /// The kinds of events that are sent, such as `room.ended`; absent or empty: all.
    #[serde(default)]
    #[schema(max_items = 6)]
    events: Vec<String>,
}

/// A webhook with its secret, which is shown once.
#[derive(Debug, Serialize, ToSchema)]
struct NewWebhookSecret {
    #[serde(flatten)]
    webhook: Webhook,
    /// The secret with which deliveries are signed (`whsec_...`), for the receiver. It is shown here
    /// alone.
    secret: String,
}

/// The webhooks that the key may see, in the order of their making.
#[utoipa::path(
    get,
    path = "/webhooks",
    operation_id = "list_webhooks",
    tag = "webhooks",
    params(PageQuery),
    security(("key" = ["read"])),
    responses((status = 200, description = "A page of webhooks", body = ListPage<Webhook>), Common)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<PageQuery>,
) -> Result<Json<ListPage<Webhook>>, Problem> {
    caller.needs(Scope::Read)?;
    let page = query.check()?;
    let mut found = webhooks::list(state.database(), caller.tenant_id(), &page).await?;
    found.iter_mut().for_each(|webhook| note_problem(&state, webhook));
    Ok(Json(ListPage::new(found, page.limit, |webhook| &webhook.id)))
}

/// Makes a webhook: from then on, it is told of events (Standard Webhooks). An event may come more than
/// once, and later than a newer one.
#[utoipa::path(
    post,
    path = "/webhooks",
    operation_id = "create_webhook",
    tag = "webhooks",
    params(("idempotency-key" = Option<String>, Header, description = "Sent again: carried out once")),
    request_body = WebhookBody,
    security(("key" = ["manage"])),
    responses(
        (status = 201, description = "The webhook with its secret", body = NewWebhookSecret),
        Common, OfOne, OfBody
    )
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    idempotency: Idempotency,
    JsonBody(body): JsonBody<WebhookBody>,
) -> Result<Response, Problem> {
    caller.needs(Scope::Manage)?;
    if let Some(earlier) = idempotency.earlier(&state, &caller, &body).await? {
        return Ok(earlier);
    }
    let new = check(&state, &caller, &body)?;
    let problem = check_host(&state, &caller, &new).await?;
    let mut change = state.begin(&caller.actor).await?;
    let mut webhook = webhooks::create(&mut change, &new, MAX_WEBHOOKS).await?;
    webhook.problem = problem;
    let secret = state.webhooks().signer.secret(&webhook.id);
    let made = NewWebhookSecret { webhook, secret };
    idempotency.keep(&state, &mut change, &caller, &body, &made).await?;
    state.commit(change).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Notes what keeps this server from telling a webhook.
fn note_problem(state: &ApiState, webhook: &mut Webhook) {
    let is_own = webhook.signer == state.webhooks().signer.name();
    webhook.problem = (!is_own).then(|| OTHER_KEY.to_owned());
}

/// Checks the values of a webhook to be made.
fn check(state: &ApiState, caller: &Caller, body: &WebhookBody) -> Result<NewWebhook, Problem> {
    let tenant = body.tenant.clone().or_else(|| caller.tenant_id().map(str::to_owned));
    if tenant.as_ref().is_some_and(|tenant| !caller.sees(tenant)) {
        return Err(Problem::not_found("there is no such tenant"));
    }
    let is_trusted = tenant.is_none() || state.webhooks().private_addresses;
    if body.url.len() > MAX_URL || body.url.contains(['@', '#']) {
        return Err(Problem::invalid(format!(
            "`url` may have {MAX_URL} bytes, and no user, password or fragment"
        )));
    }
    let url: Option<Uri> = body.url.parse().ok();
    let scheme = url.as_ref().filter(|url| url.host().is_some()).and_then(Uri::scheme);
    match scheme {
        Some(scheme) if *scheme == Scheme::HTTPS => {}
        Some(scheme) if *scheme == Scheme::HTTP && is_trusted => {}
        _ if is_trusted => {
            return Err(Problem::invalid("`url` must begin with https:// or http:// and a host"));
        }
        _ => return Err(Problem::invalid("`url` must begin with https:// and a host")),
    }
    if let Some(unknown) = body.events.iter().find(|kind| PlaneEventKind::parse(kind).is_none()) {
        let known: Vec<_> = PlaneEventKind::ALL.into_iter().map(PlaneEventKind::name).collect();
        let unknown = nucleus_core::text::printable(unknown);
        let known = known.join(", ");
        return Err(Problem::invalid(format!("`events`: {unknown} is none of {known}")));
    }
    let mut events = body.events.clone();
    events.sort_unstable();
    events.dedup();
    Ok(NewWebhook {
        tenant,
        name: plain("name", &body.name, MAX_NAME)?,
        url: body.url.clone(),
        events,
        signer: state.webhooks().signer.name().to_owned(),
    })
}

/// Checks that the host of a tenant's webhook is on the public internet. Returns what keeps the server from
/// telling it yet: the host's name is not found, which may come later.
async fn check_host(
    state: &ApiState,
    caller: &Caller,
    new: &NewWebhook,
) -> Result<Option<String>, Problem> {
    if new.tenant.is_none() || state.webhooks().private_addresses {
        return Ok(None);
    }
    let uri: Option<Uri> = new.url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let _place = state.outgoing(caller.tenant_id())?;
    let found = fetch::look_up(host).await;
    // Which names the operator's network has is no tenant's business.
    let is_hidden = caller.tenant.is_some() && !fetch::is_known_by_itself(host);
    Ok(match found {
        HostPlace::Public => None,
        HostPlace::Inside if !is_hidden => {
            return Err(Problem::invalid(
                "`url`: the host is not on the public internet, and `private_addresses` of the \
                 configuration does not allow others",
            ));
        }
        HostPlace::Inside | HostPlace::Unknown => {
            Some("the host's name has no address of the public internet yet".to_owned())
        }
    })
}

/// One webhook.
#[utoipa::path(
    get,
    path = "/webhooks/{id}",
    operation_id = "get_webhook",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    security(("key" = ["read"])),
    responses((status = 200, description = "The webhook", body = Webhook), Common, OfOne)
)]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Webhook>, Problem> {
    caller.needs(Scope::Read)?;
    let mut webhook = webhooks::get(state.database(), caller.tenant_id(), &id).await?;
    note_problem(&state, &mut webhook);
    Ok(Json(webhook))
}

/// Deletes a webhook with its deliveries.
#[utoipa::path(
    delete,
    path = "/webhooks/{id}",
    operation_id = "delete_webhook",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
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
    webhooks::delete(&mut change, caller.tenant_id(), &id).await?;
    state.commit(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Switches a webhook on or off. While it is off, events are not kept for it; what waited before goes on
/// when it is on again. The server itself switches one off whose address answers `410 Gone`.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/switch",
    operation_id = "switch_webhook",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    request_body = SwitchBody,
    security(("key" = ["manage"])),
    responses((status = 200, description = "The webhook", body = Webhook), Common, OfOne, OfBody)
)]
async fn switch(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    JsonBody(body): JsonBody<SwitchBody>,
) -> Result<Json<Webhook>, Problem> {
    caller.needs(Scope::Manage)?;
    let mut change = state.begin(&caller.actor).await?;
    let reason = (!body.on).then_some(webhooks::SWITCHED_OFF);
    let mut webhook = webhooks::switch(&mut change, caller.tenant_id(), &id, reason).await?;
    state.commit(change).await?;
    note_problem(&state, &mut webhook);
    Ok(Json(webhook))
}
