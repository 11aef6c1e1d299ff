//! `webhooks/{id}/...`: what a webhook was told, and telling it again.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, JsonBody, ListPage, PageQuery, UrlQuery};
use super::problem::Problem;
use super::responses::{Common, OfBody, OfOne};
use super::state::ApiState;
use super::webhooks::OTHER_KEY;
use crate::store::{WebhookDelivery, deliveries, webhooks};
use crate::timestamp::Timestamp;
use crate::webhooks::deliver;

/// The kind of the event of a test.
const TEST: &str = "webhook.test";
/// When a test is sent by the sender, if this request does not come to it.
const TEST_TIME: Duration = Duration::from_secs(60);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(test)).routes(routes!(list)).routes(routes!(replay))
}

/// What is to be sent again: one delivery, or all that the receiver has not taken.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    /// The id of a delivery, also of one that the receiver has taken.
    #[serde(default)]
    delivery: Option<String>,
    /// The time from which on events are sent again that the receiver has not taken.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// How many deliveries are sent again.
#[derive(Debug, Serialize, ToSchema)]
struct Replayed {
    /// Their number.
    deliveries: u64,
}

/// Sends a webhook an event of the kind `webhook.test`, and waits for its answer, 15 s at most.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/test",
    operation_id = "test_webhook",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    security(("key" = ["manage"])),
    responses(
        (status = 200, description = "What came of it", body = WebhookDelivery), Common, OfOne
    )
)]
async fn test(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<WebhookDelivery>, Problem> {
    caller.needs(Scope::Manage)?;
    let webhook = webhooks::get(state.database(), caller.tenant_id(), &id).await?;
    if webhook.signer != state.webhooks().signer.name() {
        return Err(Problem::conflict(OTHER_KEY));
    }
    let _place = state.outgoing(caller.tenant_id())?;
    let mut change = state.begin(&caller.actor).await?;
    let later = state.now().seconds().saturating_add(TEST_TIME.as_secs());
    let later = Timestamp::from_seconds(later);
    let delivery = deliveries::add_claimed(&mut change, &webhook.id, TEST, later).await?;
    change.commit_entry().await?;
    let tried = deliver(state.webhooks(), &webhook, delivery).await;
    let tried = tried.ok_or_else(|| Problem::unavailable("the database does not answer"))?;
    Ok(Json(tried))
}

/// What a webhook was told, the newest first: for a week.
#[utoipa::path(
    get,
    path = "/webhooks/{id}/deliveries",
    operation_id = "list_webhook_deliveries",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id"), PageQuery),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "A page of deliveries", body = ListPage<WebhookDelivery>),
        Common, OfOne
    )
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    UrlQuery(query): UrlQuery<PageQuery>,
) -> Result<Json<ListPage<WebhookDelivery>>, Problem> {
    caller.needs(Scope::Read)?;
    let page = query.check()?;
    let webhook = webhooks::get(state.database(), caller.tenant_id(), &id).await?;
    let found = deliveries::list(state.database(), &webhook.id, &page).await?;
    Ok(Json(ListPage::new(found, page.limit, |delivery| &delivery.id)))
}

/// Sends deliveries again at once: one, or all since some time that the receiver has not taken. They may
/// have been given up, or wait for their next try. The ten tries begin anew.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/replay",
    operation_id = "replay_webhook",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id")),
    request_body = ReplayBody,
    security(("key" = ["manage"])),
    responses(
        (status = 200, description = "How many are sent again", body = Replayed),
        Common, OfOne, OfBody
    )
)]
async fn replay(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    JsonBody(body): JsonBody<ReplayBody>,
) -> Result<Json<Replayed>, Problem> {
    caller.needs(Scope::Manage)?;
    let ReplayBody { delivery, since } = body;
    if delivery.is_some() == since.is_some() {
        return Err(Problem::invalid("give either `delivery` or `since`"));
    }
    let webhook = webhooks::get(state.database(), caller.tenant_id(), &id).await?;
    let mut change = state.begin(&caller.actor).await?;
    let count = deliveries::replay(&mut change, &webhook, delivery.as_deref(), since).await?;
    if delivery.is_some() && count == 0 {
        return Err(Problem::not_found("there is no such delivery"));
    }
    change.commit_entry().await?;
    state.webhooks().wake.notify_one();
    Ok(Json(Replayed { deliveries: count }))
}
