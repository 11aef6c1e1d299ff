//! `POST /account/password`: a person changes the own password.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::failure::FormFailure;
use super::form::{FormBody, FormSender};
use super::link::hashed;
use crate::api::problem::Problem;
use crate::api::same_origin::SameOrigin;
use crate::api::signed_in::{SignedIn, Viewer};
use crate::api::state::ApiState;
use crate::people::SecretText;
use crate::store::{AuditedChange, people};

/// The page that shows the form again.
const PAGE: &str = "/account";

#[derive(Deserialize)]
pub(super) struct PasswordForm {
    /// The present password.
    password: SecretText,
    new_password: SecretText,
}

/// Changes the password. All sessions of the person end, so that a stranger who knew the old one is out.
pub(super) async fn change(
    State(state): State<ApiState>,
    SignedIn(viewer): SignedIn,
    _own: SameOrigin,
    sender: FormSender,
    FormBody(form): FormBody<PasswordForm>,
) -> Result<Response, Problem> {
    let (_, attempts) = state.sign_in()?;
    let begun = attempts.rates().begin(&viewer.email, &sender.network, state.now());
    if let Err(wait) = begun {
        return Ok(sender.refuse(PAGE, FormFailure::Slow(wait)));
    }
    let changed = carry_out(&state, &viewer, &sender, &form).await;
    if changed != Err(FormFailure::Wrong) {
        attempts.rates().forgive(&viewer.email, &sender.network);
    }
    Ok(match changed {
        Ok(()) => Redirect::to("/signin?done=password").into_response(),
        Err(why) => sender.refuse(PAGE, why),
    })
}

async fn carry_out(
    state: &ApiState,
    viewer: &Viewer,
    sender: &FormSender,
    form: &PasswordForm,
) -> Result<(), FormFailure> {
    let (settings, attempts) = state.sign_in().map_err(|_| FormFailure::Unavailable)?;
    let found = people::find(state.database(), &viewer.email).await?;
    let old = found.and_then(|(_, secrets)| secrets.password_hash);
    if !settings.passwords.verify(&form.password, old).await? {
        let (person, tenant) = (viewer.person.as_str(), viewer.tenant.as_deref());
        attempts.failed().add(Some(person), tenant, &sender.network);
        return Err(FormFailure::Wrong);
    }
    let new = hashed(state, &form.new_password, &viewer.email).await?;
    let actor = sender.actor(&viewer.person);
    let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
    people::set_password(&mut change, &viewer.person, &new).await?;
    Ok(change.commit_entry().await?)
}
