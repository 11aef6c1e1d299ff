//! `POST /account/totp`: a person adds an authenticator app.
//!
//! The new secret travels to the page and back, sealed. The database takes it once a code shows that the app
//! has it, so that nobody is locked out by an app that was never set up.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::attempt::totp_place;
use super::failure::FormFailure;
use super::form::{FormBody, FormSender};
use crate::api::problem::Problem;
use crate::api::same_origin::SameOrigin;
use crate::api::signed_in::{SignedIn, Viewer};
use crate::api::state::ApiState;
use crate::people::{SecretText, TotpSecret};
use crate::store::{AuditedChange, StoreError, people};
use crate::timestamp::Timestamp;

/// The page that shows the form again.
const PAGE: &str = "/account";
/// How long an enrolment may take, in microseconds: ten minutes.
const TIME: i64 = 600_000_000;

/// A new secret that a person is to take over into an authenticator app.
#[derive(Clone, Serialize)]
pub struct TotpEnrolment {
    /// The secret in Base32, to be typed.
    pub secret: String,
    /// The address that apps read from a picture (QR code).
    pub address: String,
    /// The sealed secret, which comes back with the first code.
    pub enrolment: String,
}

/// Never shows the secret.
impl std::fmt::Debug for TotpEnrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TotpEnrolment").finish_non_exhaustive()
    }
}

/// Makes a secret for the authenticator app of a person.
///
/// # Errors
///
/// The answer to send: the system has no random bytes.
pub fn begin_totp(state: &ApiState, viewer: &Viewer) -> Result<TotpEnrolment, Problem> {
    let secret = TotpSecret::generate().map_err(StoreError::from)?;
    let end = state.now().micros().saturating_add(TIME);
    let text = Zeroizing::new(format!("{end} {}", secret.text().as_str()));
    let sealed = state.webhooks().signer.seal(&enrolment_place(&viewer.person), &text);
    let none = || Problem::unavailable("the system has no random bytes");
    Ok(TotpEnrolment {
        secret: secret.text().to_string(),
        address: secret.address(&viewer.email).to_string(),
        enrolment: sealed.ok_or_else(none)?,
    })
}

/// Returns the enrolment that a page has begun, so that a wrong code does not make a new secret; `None`: it is
/// none of this person, or has ended.
pub fn resume_totp(state: &ApiState, viewer: &Viewer, enrolment: &str) -> Option<TotpEnrolment> {
    let secret = open_enrolment(state, viewer, enrolment).ok()?;
    Some(TotpEnrolment {
        secret: secret.text().to_string(),
        address: secret.address(&viewer.email).to_string(),
        enrolment: enrolment.to_owned(),
    })
}

/// Opens a sealed enrolment of a person.
fn open_enrolment(
    state: &ApiState,
    viewer: &Viewer,
    sealed: &str,
) -> Result<TotpSecret, FormFailure> {
    let opened = state.webhooks().signer.open(&enrolment_place(&viewer.person), sealed);
    let opened = Zeroizing::new(opened.ok_or(FormFailure::Enrolment)?);
    let (end, text) = opened.split_once(' ').ok_or(FormFailure::Enrolment)?;
    let end = end.parse().map(Timestamp::from_micros).map_err(|_| FormFailure::Enrolment)?;
    let is_over = state.now() >= end;
    TotpSecret::parse(text).filter(|_| !is_over).ok_or(FormFailure::Enrolment)
}

fn enrolment_place(person: &str) -> String {
    format!("enrolment of an authenticator app of {person}")
}

#[derive(Deserialize)]
pub(super) struct TotpForm {
    /// As [`TotpEnrolment::enrolment`]; empty: a new one is wanted.
    #[serde(default)]
    enrolment: SecretText,
    #[serde(default)]
    code: String,
}

/// Begins an enrolment, or ends it with the first code.
pub(super) async fn enrol(
    State(state): State<ApiState>,
    SignedIn(viewer): SignedIn,
    _own: SameOrigin,
    sender: FormSender,
    FormBody(form): FormBody<TotpForm>,
) -> Result<Response, Problem> {
    // A browser that was left open must not lock its person out.
    if viewer.has_totp {
        return Ok(sender.refuse(PAGE, FormFailure::HasApp));
    }
    if form.enrolment.is_empty() && sender.wants_page {
        return Ok(Redirect::to("/account?totp=new").into_response());
    }
    if form.enrolment.is_empty() {
        let mut response = Json(begin_totp(&state, &viewer)?).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(response);
    }
    Ok(match take_over(&state, &viewer, &sender, &form).await {
        Ok(()) => Redirect::to("/account?done=totp").into_response(),
        // The app has this secret by now: the page shows it again. It is sealed, for this person alone.
        Err(FormFailure::WrongCode) => {
            let pairs = [("totp", "new"), ("enrolment", &*form.enrolment)];
            let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
            sender.refuse(&format!("{PAGE}?{query}"), FormFailure::WrongCode)
        }
        Err(why) => sender.refuse("/account?totp=new", why),
    })
}

async fn take_over(
    state: &ApiState,
    viewer: &Viewer,
    sender: &FormSender,
    form: &TotpForm,
) -> Result<(), FormFailure> {
    let secret = open_enrolment(state, viewer, &form.enrolment)?;
    let step = secret.verify(&form.code, None, state.now()).ok_or(FormFailure::WrongCode)?;
    let signer = &state.webhooks().signer;
    let sealed = signer.seal(&totp_place(&viewer.person), &secret.text());
    let sealed = sealed.ok_or(FormFailure::Unavailable)?;
    let actor = sender.actor(&viewer.person);
    let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
    people::set_totp(&mut change, &viewer.person, &sealed, step).await?;
    Ok(change.commit_entry().await?)
}
