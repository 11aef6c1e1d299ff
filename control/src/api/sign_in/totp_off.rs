//! `POST /account/totp/off`: a person takes the own authenticator app away.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::attempt::open_totp;
use super::failure::FormFailure;
use super::form::{FormBody, FormSender};
use crate::api::problem::Problem;
use crate::api::same_origin::SameOrigin;
use crate::api::signed_in::{SignedIn, Viewer};
use crate::api::state::ApiState;
use crate::people::SecretText;
use crate::store::{AuditedChange, PersonChange, console_sessions, people};

/// The page that shows the form again. The query tells it which form was wrong.
const PAGE: &str = "/account?totp=off";

#[derive(Deserialize)]
pub(super) struct TotpOffForm {
    /// The present password.
    password: SecretText,
    /// A code of the app.
    #[serde(default)]
    code: String,
}

/// Takes the app away. A browser that was left open is not enough for this: it needs password and code. The
/// other sessions of the person end, because a stranger may have one of them.
pub(super) async fn switch_off(
    State(state): State<ApiState>,
    SignedIn(viewer): SignedIn,
    _own: SameOrigin,
    sender: FormSender,
    FormBody(form): FormBody<TotpOffForm>,
) -> Result<Response, Problem> {
    let (_, attempts) = state.sign_in()?;
    let begun = attempts.rates().begin(&viewer.email, &sender.network, state.now());
    if let Err(wait) = begun {
        return Ok(sender.refuse(PAGE, FormFailure::Slow(wait)));
    }
    let done = carry_out(&state, &viewer, &sender, &form).await;
    match done {
        Err(FormFailure::Wrong | FormFailure::WrongCode) => {
            let (person, tenant) = (viewer.person.as_str(), viewer.tenant.as_deref());
            attempts.failed().add(Some(person), tenant, &sender.network);
        }
        _ => attempts.rates().forgive(&viewer.email, &sender.network),
    }
    Ok(match done {
        Ok(()) => Redirect::to("/account?done=totp-off").into_response(),
        Err(why) => sender.refuse(PAGE, why),
    })
}

async fn carry_out(
    state: &ApiState,
    viewer: &Viewer,
    sender: &FormSender,
    form: &TotpOffForm,
) -> Result<(), FormFailure> {
    let (settings, _) = state.sign_in().map_err(|_| FormFailure::Unavailable)?;
    let found = people::find(state.database(), &viewer.email).await?;
    let (person, secrets) = found.ok_or(FormFailure::Wrong)?;
    let sealed = secrets.totp.as_deref().ok_or(FormFailure::NoApp)?;
    if !settings.passwords.verify(&form.password, secrets.password_hash.clone()).await? {
        return Err(FormFailure::Wrong);
    }
    let secret = open_totp(state, &person.id, sealed)?;
    let step = secret.verify(&form.code, secrets.totp_step, state.now());
    let step = step.ok_or(FormFailure::WrongCode)?;
    let actor = sender.actor(&person.id);
    let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
    if !people::use_totp(&mut change, &person.id, step).await? {
        return Err(FormFailure::WrongCode);
    }
    // The password, the app or the account may have changed while the password was verified.
    if !people::is_unchanged(&mut change, &person, &secrets).await? {
        return Err(FormFailure::Wrong);
    }
    let away = PersonChange { remove_totp: true, ..PersonChange::default() };
    people::change(&mut change, None, &person.id, &away).await?;
    console_sessions::end_others(&mut change, &person.id, &viewer.session).await?;
    Ok(change.commit_entry().await?)
}
