//! How people sign in and out, set their password and their authenticator app. Forms of pages are sent here;
//! the pages themselves are made elsewhere.

mod attempt;
mod failure;
mod form;
mod keeper;
mod link;
mod password;
mod single_sign_on;
mod totp;
mod totp_off;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use super::request;
use super::state::ApiState;

pub use keeper::{first_admin_link, keep_sign_in, note_failed_sign_ins};
pub use single_sign_on::single_sign_on_label;
pub use totp::{TotpEnrolment, begin_totp, resume_totp};

pub(crate) use failure::FormFailure;
pub(crate) use form::{FormBody, MAX_FORM};
pub(crate) use link::{LinkPurpose, link_purpose};

/// Returns the routes.
pub(super) fn router(state: ApiState) -> Router {
    Router::new()
        .route("/signin", post(attempt::sign_in))
        .route("/signin/oidc", get(single_sign_on::begin))
        .route("/signin/oidc/return", get(single_sign_on::come_back))
        .route("/signout", post(attempt::sign_out))
        .route("/link", post(link::use_link))
        .route("/account/password", post(password::change))
        .route("/account/totp", post(totp::enrol))
        .route("/account/totp/off", post(totp_off::switch_off))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn_with_state(state.clone(), request::prepare))
        .with_state(state)
}
