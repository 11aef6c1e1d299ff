//! The dashboard: pages for people who sign in, made of what the API answers to the same person.
//!
//! A route reads the address or the form (`reader`, `form`), asks the API inside this process (`client`,
//! `row`), fills the view model of a page and answers with it (`answer`). Live parts are streams (`live`), which share
//! their texts (`live_parts`).

mod account;
mod alarms;
mod answer;
mod audit;
mod bans;
mod calls;
mod checks;
mod client;
mod cookies;
mod form;
mod keys;
mod live;
mod live_parts;
mod network;
mod notice;
mod overview;
mod pages;
mod people;
mod reader;
mod room;
mod room_acts;
mod room_life;
mod rooms;
mod row;
mod session;
mod session_acts;
mod session_life;
mod session_others;
mod sessions;
mod shell;
mod sign_in;
mod state;
mod tenant_names;
mod tenants;
mod trends;
mod way_back;
mod webhooks;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use nucleus_console::assets;
use nucleus_console::screens::ErrorKind;

use crate::api::MAX_FORM;
use answer::PageError;
use reader::PageReader;

pub use state::{ConsoleSettings, ConsoleState};

/// Returns the pages.
pub fn router(state: ConsoleState) -> Router {
    Router::new()
        .route("/", get(overview::page))
        .route("/live/overview", get(overview::stream))
        .route("/charts/{name}", get(overview::chart))
        .route("/drain", post(overview::drain))
        .route("/rooms", get(rooms::page))
        .route("/rooms.csv", get(rooms::csv))
        .route("/live/rooms", get(rooms::stream))
        .route("/rooms/{id}", get(room::page))
        .route("/live/rooms/{id}", get(room::stream))
        .route("/rooms/{id}/close", post(room_acts::close))
        .route("/rooms/{id}/lock", post(room_acts::lock))
        .route("/rooms/{id}/peers/{peer}/mute", post(room_acts::mute))
        .route("/rooms/{id}/peers/{peer}/kick", post(room_acts::kick))
        .route("/rooms/{id}/bans/lift", post(room_acts::let_in))
        .route("/rooms/{id}/charts/{name}", get(room_life::chart))
        .route("/rooms/{id}/peers/{peer}/ban", post(room_acts::ban))
        .route("/bans", get(bans::page).post(bans::create))
        .route("/bans/{id}/lift", post(bans::lift))
        .route("/calls", get(calls::page))
        .route("/live/calls", get(calls::stream))
        .route("/sessions", get(sessions::page))
        .route("/sessions/{id}", get(session::page))
        .route("/sessions/{id}/ban", post(session_acts::ban))
        .route("/sessions/{id}/forget", post(session_acts::forget))
        .route("/audit", get(audit::page))
        .route("/audit.csv", get(audit::csv))
        .route("/tenants", get(tenants::list).post(tenants::create))
        .route("/tenants/new", get(tenants::new))
        .route("/tenants/{id}", get(tenants::page).post(tenants::save))
        .route("/keys", get(keys::page).post(keys::create))
        .route("/keys/{id}/revoke", post(keys::revoke))
        .route("/issuers", post(keys::add_issuer))
        .route("/issuers/{id}/delete", post(keys::delete_issuer))
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/new", get(webhooks::new))
        .route("/webhooks/{id}", get(webhooks::page))
        .route("/webhooks/{id}/{act}", post(webhooks::act))
        .route("/people", get(people::list).post(people::create))
        .route("/people/{id}", get(people::page))
        .route("/people/{id}/{act}", post(people::act))
        .route("/people/{id}/sessions/{session}/end", post(people::end_session))
        .route("/network", get(network::page))
        .route("/account", get(account::page))
        .route("/account/sessions/{session}/end", post(account::end_session))
        .route("/signin", get(sign_in::page))
        .route("/link", get(sign_in::link))
        // Forms are sent to these. A browser that opens one as a page is redirected to a page.
        .route("/signout", get(|| async { answer::to("/") }))
        .route("/account/password", get(|| async { answer::to("/account") }))
        .route("/account/totp", get(|| async { answer::to("/account") }))
        .route("/account/totp/off", get(|| async { answer::to("/account") }))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn(answer::finish))
        .layer(middleware::from_fn_with_state(state.api.clone(), crate::api::prepare))
        .route("/assets/{file}", get(asset))
        .with_state(state)
}

/// Says that there is no such page. A stranger learns no more than that.
async fn nothing(_reader: Result<PageReader, PageError>) -> PageError {
    PageError::Kind(ErrorKind::NotFound)
}

/// Serves a file of the pages. Its name has its hash, so a browser keeps it for ever.
async fn asset(Path(file): Path<String>) -> Response {
    let Some(asset) = assets::find(&file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, assets::CACHE_CONTROL),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, asset.bytes).into_response()
}
