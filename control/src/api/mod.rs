//! The API under `/api/v1`: what it offers, and its document (OpenAPI 3.1).
//!
//! A request passes through these steps: its id and its rate (`request`), the API key or the person who is
//! signed in (`caller`), the body (`extract`), and the route. Errors are problem details (`problem`).
//!
//! Beside it are the forms by which people sign in (`sign_in`).

mod alarms;
mod api_keys;
mod audit;
mod bans;
mod bearer;
mod caller;
mod calls;
mod cookie;
mod deliveries;
mod events;
mod extract;
mod forget;
mod history;
mod history_places;
mod idempotency;
mod issuers;
mod key_uses;
mod live;
mod live_sampler;
mod people;
mod problem;
mod rates;
mod request;
mod request_info;
mod responses;
mod room_figures;
mod rooms;
mod same_origin;
mod series;
mod server;
mod sign_in;
mod sign_in_state;
mod signed_in;
mod state;
mod streams;
mod tenants;
mod tokens;
mod webhooks;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use extract::MAX_BODY;

pub use crate::scope::Scope;
pub use alarms::keep_alarms;
pub use problem::Problem;
pub use same_origin::SameOrigin;
pub use sign_in::{
    TotpEnrolment, begin_totp, first_admin_link, keep_sign_in, note_failed_sign_ins, resume_totp,
    single_sign_on_label,
};
pub use sign_in_state::SignInSettings;
pub use signed_in::{SignedIn, Viewer};
pub use state::{ApiSettings, ApiState};

pub(crate) use caller::Caller;
pub(crate) use request::{FromPage, prepare};
pub(crate) use request_info::RequestInfo;
pub(crate) use sign_in::{FormBody, FormFailure, LinkPurpose, MAX_FORM, link_purpose};
pub(crate) use streams::{StreamWriter, open as open_stream};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Nucleus",
        description = "Tenants, people, API keys, issuers of join tokens, webhooks, rooms and the audit of a Nucleus server. Every request sends \
            `Authorization: Bearer nuk_...`. A key of a tenant sees this tenant alone. Errors are problem \
            details (RFC 9457)."
    ),
    servers((url = "/api/v1")),
    components(schemas(Problem, live::LiveServer, live::LiveTenant<'_>))
)]
struct Document;

/// Returns the routes with their document.
fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(server::routes())
        .merge(alarms::routes())
        .merge(rooms::routes())
        .merge(series::routes())
        .merge(tenants::routes())
        .merge(people::routes())
        .merge(api_keys::routes())
        .merge(issuers::routes())
        .merge(bans::routes())
        .merge(forget::routes())
        .merge(tokens::routes())
        .merge(webhooks::routes())
        .merge(deliveries::routes())
        .merge(audit::routes())
        .merge(calls::routes())
        .merge(history::routes())
        .merge(events::routes())
        .merge(live::routes())
}

/// Returns the document of the API, as JSON.
pub fn document() -> String {
    let (_, mut document) = routes().split_for_parts();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().add_security_scheme("key", bearer);
    // A derived document can always be written.
    document.to_pretty_json().unwrap_or_default()
}

/// Returns the API below `/api/v1` and `/Api/v1`, and the forms by which people sign in, if they do.
pub fn router(state: ApiState) -> Router {
    let (routes, _) = routes().split_for_parts();
    let routes = routes
        .fallback(async || Problem::not_found("the API has no such address"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(state.clone(), request::prepare))
        .with_state(state.clone());
    let router = Router::new().nest("/api/v1", routes.clone()).nest("/Api/v1", routes);
    if state.sign_in().is_ok() { router.merge(sign_in::router(state)) } else { router }
}
