//! `POST /link`: a one-time link sets a password, or makes the first administrator.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use nucleus_core::text;
use serde::Deserialize;

use super::failure::FormFailure;
use super::form::{FormBody, FormSender};
use crate::api::people::MAX_NAME;
use crate::api::problem::Problem;
use crate::api::same_origin::SameOrigin;
use crate::api::state::ApiState;
use crate::people::{PersonRole, SecretText, check_password, hash_secret, is_secret, read_email};
use crate::store::{AuditedChange, NewPerson, OneTimeLink, one_time_links, people};

#[derive(Deserialize)]
pub(super) struct LinkForm {
    token: String,
    password: SecretText,
    /// The email address of the first administrator.
    #[serde(default)]
    email: String,
    /// The name of the first administrator; empty: the email address.
    #[serde(default)]
    name: String,
}

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkPurpose {
    /// It makes the first administrator.
    FirstAdmin,
    /// It sets the password of the person with this email address.
    Password {
        /// The address.
        email: String,
    },
}

/// Returns what a link is for; `None`: it was used, has ended, or never was one.
///
/// # Errors
///
/// The answer to send: the database does not answer.
pub(crate) async fn link_purpose(
    state: &ApiState,
    token: &str,
) -> Result<Option<LinkPurpose>, Problem> {
    state.sign_in()?;
    if !is_secret(token) {
        return Ok(None);
    }
    let link = one_time_links::find(state.database(), &hash_secret(token), state.now()).await?;
    Ok(match link {
        None => None,
        Some(OneTimeLink::FirstAdmin) => Some(LinkPurpose::FirstAdmin),
        Some(OneTimeLink::Password(person)) => {
            let person = people::get(state.database(), None, &person).await?;
            person.disabled_at.is_none().then_some(LinkPurpose::Password { email: person.email })
        }
    })
}

/// Uses a link.
pub(super) async fn use_link(
    State(state): State<ApiState>,
    _own: SameOrigin,
    sender: FormSender,
    FormBody(form): FormBody<LinkForm>,
) -> Result<Response, Problem> {
    state.sign_in()?;
    Ok(match carry_out(&state, &sender, &form).await {
        Ok(()) => Redirect::to("/signin?done=password").into_response(),
        Err(FormFailure::Link) => sender.refuse("/link", FormFailure::Link),
        // The token of a link that was found has no character that a query must escape.
        Err(why) => sender.refuse(&format!("/link?token={}", form.token), why),
    })
}

async fn carry_out(
    state: &ApiState,
    sender: &FormSender,
    form: &LinkForm,
) -> Result<(), FormFailure> {
    if !is_secret(&form.token) {
        return Err(FormFailure::Link);
    }
    let hash = hash_secret(&form.token);
    // Before the password is hashed: a stranger without a link must cost nothing.
    let link = one_time_links::find(state.database(), &hash, state.now()).await?;
    match link.ok_or(FormFailure::Link)? {
        OneTimeLink::FirstAdmin => make_first_admin(state, sender, form, &hash).await,
        OneTimeLink::Password(person) => set_password(state, sender, form, &hash, &person).await,
    }
}

async fn make_first_admin(
    state: &ApiState,
    sender: &FormSender,
    form: &LinkForm,
    hash: &str,
) -> Result<(), FormFailure> {
    let email = read_email(&form.email).ok_or(FormFailure::Email)?;
    let name = match form.name.trim() {
        "" => email.chars().take(MAX_NAME / 4).collect(),
        name => text::plain(name.as_bytes(), 1, MAX_NAME).map_err(|_| FormFailure::Name)?,
    };
    let password_hash = Some(hashed(state, &form.password, &email).await?);
    let (tenant, role) = (None, PersonRole::SuperAdmin);
    let new = NewPerson { tenant, email, name, role, password_hash };
    let actor = sender.named("link");
    let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
    one_time_links::take(&mut change, hash).await?;
    people::create_first(&mut change, &new).await?;
    one_time_links::delete_first_admin(&mut change).await?;
    Ok(change.commit_entry().await?)
}

async fn set_password(
    state: &ApiState,
    sender: &FormSender,
    form: &LinkForm,
    hash: &str,
    id: &str,
) -> Result<(), FormFailure> {
    let person = people::get(state.database(), None, id).await?;
    if person.disabled_at.is_some() {
        return Err(FormFailure::Link);
    }
    let password = hashed(state, &form.password, &person.email).await?;
    let actor = sender.actor(id);
    let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
    one_time_links::take(&mut change, hash).await?;
    people::set_password(&mut change, id, &password).await?;
    Ok(change.commit_entry().await?)
}

/// Checks and hashes a new password.
pub(super) async fn hashed(
    state: &ApiState,
    password: &str,
    email: &str,
) -> Result<String, FormFailure> {
    let password = check_password(password, email)?;
    let (settings, _) = state.sign_in().map_err(|_| FormFailure::Unavailable)?;
    Ok(settings.passwords.hash(password).await?)
}
