//! `POST /signin` and `POST /signout`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::failure::FormFailure;
use super::form::{FormBody, FormSender};
use crate::api::cookie;
use crate::api::problem::Problem;
use crate::api::same_origin::SameOrigin;
use crate::api::state::ApiState;
use crate::people::{SecretText, SignInOutcome, TotpSecret, hash_secret, new_secret, read_email};
use crate::store::{
    AuditedChange, NewConsoleSession, Person, PersonSecrets, StoreError, console_sessions, people,
};

/// The page that shows the form again.
const PAGE: &str = "/signin";

#[derive(Deserialize)]
pub(super) struct SignInForm {
    email: String,
    password: SecretText,
    #[serde(default)]
    code: String,
    /// The path to which the browser goes on.
    #[serde(default)]
    next: String,
}

/// Signs a person in.
pub(super) async fn sign_in(
    State(state): State<ApiState>,
    _own: SameOrigin,
    sender: FormSender,
    FormBody(form): FormBody<SignInForm>,
) -> Result<Response, Problem> {
    let (settings, _) = state.sign_in()?;
    let next = local_path(&form.next);
    let page = match next {
        "/" => PAGE.to_owned(),
        next => {
            let query = serde_urlencoded::to_string([("next", next)]).unwrap_or_default();
            format!("{PAGE}?{query}")
        }
    };
    let tried = attempt(&state, &sender, &form).await;
    settings.counters.count(match &tried {
        Ok(_) => SignInOutcome::SignedIn,
        Err(why) => why.outcome(),
    });
    Ok(match tried {
        Ok(secret) => go_on(next, &secret, &sender),
        Err(why) => sender.refuse(&page, why),
    })
}

/// Carries out an attempt, if its sender has not failed too often. Returns the secret of the new session.
async fn attempt(
    state: &ApiState,
    sender: &FormSender,
    form: &SignInForm,
) -> Result<String, FormFailure> {
    let (_, attempts) = state.sign_in().map_err(|_| FormFailure::Unavailable)?;
    // A text that is no address is counted like one that is nobody's.
    let email = read_email(&form.email).unwrap_or_default();
    let begun = attempts.rates().begin(&email, &sender.network, state.now());
    if let Err(wait) = begun {
        attempts.failed().add(None, None, &sender.network);
        return Err(FormFailure::Slow(wait));
    }
    let found = match people::find(state.database(), &email).await {
        Ok(found) => found,
        Err(error) => {
            attempts.rates().forgive(&email, &sender.network);
            return Err(error.into());
        }
    };
    let tried = verify(state, sender, form, found.as_ref()).await;
    match &tried {
        Ok(_) => attempts.rates().succeeded(&email, &sender.network, state.now()),
        Err(FormFailure::Wrong | FormFailure::WrongCode) => {
            let person = found.as_ref().map(|(person, _)| person);
            let tenant = person.and_then(|person| person.tenant.as_deref());
            let id = person.map(|person| person.id.as_str());
            attempts.failed().add(id, tenant, &sender.network);
        }
        Err(_) => attempts.rates().forgive(&email, &sender.network),
    }
    tried
}

/// Verifies the password, and begins a session of its person. `found`: who has the email address.
async fn verify(
    state: &ApiState,
    sender: &FormSender,
    form: &SignInForm,
    found: Option<&(Person, PersonSecrets)>,
) -> Result<String, FormFailure> {
    let (settings, _) = state.sign_in().map_err(|_| FormFailure::Unavailable)?;
    let hash = found.and_then(|(_, secrets)| secrets.password_hash.clone());
    let is_right = settings.passwords.verify(&form.password, hash).await?;
    let allowed = found.filter(|(person, _)| is_right && person.disabled_at.is_none());
    let (person, secrets) = allowed.ok_or(FormFailure::Wrong)?;
    begin_session(state, sender, person, secrets, &form.code).await
}

/// Checks the code of a person whose password is right, and begins a session. Returns its secret.
async fn begin_session(
    state: &ApiState,
    sender: &FormSender,
    person: &Person,
    secrets: &PersonSecrets,
    code: &str,
) -> Result<String, FormFailure> {
    let step = match &secrets.totp {
        None => None,
        Some(_) if code.trim().is_empty() => return Err(FormFailure::NeedsCode),
        Some(sealed) => {
            let secret = open_totp(state, &person.id, sealed)?;
            let step = secret.verify(code, secrets.totp_step, state.now());
            Some(step.ok_or(FormFailure::WrongCode)?)
        }
    };
    let actor = sender.actor(&person.id);
    let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
    if let Some(step) = step
        && !people::use_totp(&mut change, &person.id, step).await?
    {
        return Err(FormFailure::WrongCode);
    }
    // The password, the app or the account may have changed while the password was verified.
    if !people::is_unchanged(&mut change, person, secrets).await? {
        return Err(FormFailure::Wrong);
    }
    let way = if step.is_some() { "by password and code" } else { "by password" };
    let secret = write_session(&mut change, sender, person, way).await?;
    change.commit_entry().await?;
    Ok(secret)
}

/// Begins a session with a change, in place of the one that the browser has. Returns its secret.
pub(super) async fn write_session(
    change: &mut AuditedChange<'_>,
    sender: &FormSender,
    person: &Person,
    way: &'static str,
) -> Result<String, StoreError> {
    let (secret, id_hash) = new_secret()?;
    if let Some(old) = &sender.cookie {
        console_sessions::replace(change, &hash_secret(old)).await?;
    }
    let new = NewConsoleSession { id_hash, agent: sender.agent.clone(), way };
    console_sessions::begin(change, person, &new).await?;
    Ok(secret)
}

/// Sends a browser on in which somebody is signed in now.
pub(super) fn go_on(next: &str, secret: &str, sender: &FormSender) -> Response {
    let mut response = Redirect::to(next).into_response();
    if let Some(cookie) = cookie::set(secret, sender.is_secure) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Opens the sealed secret of a person's authenticator app.
pub(super) fn open_totp(
    state: &ApiState,
    person: &str,
    sealed: &str,
) -> Result<TotpSecret, FormFailure> {
    let opened = state.webhooks().signer.open(&totp_place(person), sealed);
    opened.map(Zeroizing::new).and_then(|text| TotpSecret::parse(&text)).ok_or_else(|| {
        tracing::error!(
            person,
            "the secret of an authenticator app was sealed by a server with another `webhook-key` in its \
             data directory; `nucleus admin reset EMAIL --totp` removes it"
        );
        FormFailure::Unavailable
    })
}

/// The place in the database for which the secret of a person's authenticator app is sealed.
pub(super) fn totp_place(person: &str) -> String {
    format!("authenticator app of {person}")
}

/// Signs out the browser.
pub(super) async fn sign_out(
    State(state): State<ApiState>,
    _own: SameOrigin,
    sender: FormSender,
) -> Result<Response, Problem> {
    state.sign_in()?;
    if let Some(secret) = &sender.cookie {
        let hash = hash_secret(secret);
        let found = console_sessions::find(state.database(), &hash, state.now()).await?;
        if let Some((session, person)) = found {
            let actor = sender.actor(&person.id);
            let mut change = state.begin(&actor).await?;
            console_sessions::end(&mut change, &person, Some(&session.id)).await?;
            change.commit_entry().await?;
        }
    }
    let mut response = Redirect::to("/signin?done=signed_out").into_response();
    if let Some(cookie) = cookie::clear(sender.is_secure) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Returns a path of this server, or `/`: a link must not lead to another server after the sign-in.
pub(super) fn local_path(path: &str) -> &str {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_local = path.starts_with('/') && !path.starts_with("//");
    if is_local && is_plain && !path.starts_with(PAGE) { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_stays_on_this_server() {
        for path in ["/", "/rooms?tenant=acme", "/a//b"] {
            assert_eq!(local_path(path), path);
        }
        for path in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil",
            "rooms",
            "/signin",
        ] {
            assert_eq!(local_path(path), "/", "{path}");
        }
    }
}
