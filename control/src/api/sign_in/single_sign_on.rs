//! `GET /signin/oidc` and `GET /signin/oidc/return`: a person signs in at a provider of OpenID Connect.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use nucleus_tokens::{ExpectedIdToken, IdToken, verify_id_token};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::attempt::{go_on, local_path, write_session};
use super::failure::FormFailure;
use super::form::FormSender;
use crate::api::cookie;
use crate::api::extract::UrlQuery;
use crate::api::problem::Problem;
use crate::api::state::{ApiState, OutgoingPlace};
use crate::fetch::{Fetch, Fetched, fetch};
use crate::issuers::fetch_keys;
use crate::people::{
    PEOPLE_OF_TENANT, ProviderAddresses, SignInOutcome, SignOnFlow, SingleSignOn, read_email,
};
use crate::store::{AuditedChange, NewPerson, Person, StoreError, people};

/// The page that says why a sign-on has failed.
const PAGE: &str = "/signin";
/// Where the provider sends the browser back.
const RETURN: &str = "/signin/oidc/return";
/// Longest time of a request to the provider. Three are made while a person waits.
const TIME: Duration = Duration::from_secs(5);
/// Largest answer of a provider, in bytes: a token with many groups, or a long description.
const MAX_ANSWER: usize = 64 << 10;
/// The place for which the flow in the cookie is sealed.
const PLACE: &str = "single sign-on";

/// Returns the name of the provider of single sign-on, for people; `None`: there is none.
pub fn single_sign_on_label(state: &ApiState) -> Option<String> {
    let (settings, _) = state.sign_in().ok()?;
    settings.single_sign_on.as_ref().map(|provider| provider.label.clone())
}

#[derive(Deserialize)]
pub(super) struct BeginQuery {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct ReturnQuery {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
}

/// Sends a browser to the provider.
pub(super) async fn begin(
    State(state): State<ApiState>,
    sender: FormSender,
    UrlQuery(query): UrlQuery<BeginQuery>,
) -> Result<Response, Problem> {
    let (settings, _) = state.sign_in()?;
    Ok(match lead_away(&state, local_path(&query.next)).await {
        Ok((address, sealed)) => {
            with_flow(Redirect::to(&address).into_response(), &sealed, &sender)
        }
        Err(why) => {
            settings.counters.count(why.outcome());
            sender.refuse(PAGE, why)
        }
    })
}

/// Returns where the browser goes, and what it takes along.
async fn lead_away(state: &ApiState, next: &str) -> Result<(String, String), FormFailure> {
    let (provider, back) = provider(state)?;
    let addresses = addresses(state, provider).await?;
    let flow = SignOnFlow::begin(next, state.now()).map_err(StoreError::from)?;
    // The type can always be written.
    let text = Zeroizing::new(serde_json::to_string(&flow).unwrap_or_default());
    let sealed = state.webhooks().signer.seal(PLACE, &text).ok_or(FormFailure::Unavailable)?;
    Ok((addresses.authorization(provider, &flow, &back), sealed))
}

/// Signs in a person whom the provider sends back.
pub(super) async fn come_back(
    State(state): State<ApiState>,
    sender: FormSender,
    UrlQuery(query): UrlQuery<ReturnQuery>,
) -> Result<Response, Problem> {
    let (settings, attempts) = state.sign_in()?;
    // Each attempt asks the provider, so that strangers must not make any number of them.
    let email = format!("@{}", sender.network);
    let begun = attempts.rates().begin(&email, &sender.network, state.now());
    if let Err(wait) = begun {
        settings.counters.count(SignInOutcome::Slowed);
        return Ok(sender.refuse(PAGE, FormFailure::Slow(wait)));
    }
    let answer = match take_in(&state, &sender, &query).await {
        Ok((next, secret)) => {
            settings.counters.count(SignInOutcome::SignedIn);
            attempts.rates().succeeded(&email, &sender.network, state.now());
            go_on(&next, &secret, &sender)
        }
        Err(why) => {
            settings.counters.count(why.outcome());
            match why {
                FormFailure::ProviderRefused => {
                    attempts.failed().add(None, None, &sender.network);
                }
                // Not the sender's failure, or nothing that asks the provider: any page can lead a browser here.
                _ => attempts.rates().forgive(&email, &sender.network),
            }
            sender.refuse(PAGE, why)
        }
    };
    Ok(with_flow(answer, "", &sender))
}

/// Returns where the browser goes on, and the secret of its session.
async fn take_in(
    state: &ApiState,
    sender: &FormSender,
    query: &ReturnQuery,
) -> Result<(String, String), FormFailure> {
    let (provider, back) = provider(state)?;
    let sealed = sender.flow.as_deref().ok_or(FormFailure::ProviderLate)?;
    let opened = state.webhooks().signer.open(PLACE, sealed).map(Zeroizing::new);
    let flow = opened.and_then(|text| serde_json::from_str::<SignOnFlow>(&text).ok());
    let flow = flow.filter(|flow| flow.is_answered_by(&query.state, state.now()));
    let flow = flow.ok_or(FormFailure::ProviderLate)?;
    if query.code.is_empty() {
        return Err(FormFailure::ProviderRefused);
    }
    let token = identify(state, provider, &flow, &back, &query.code).await?;
    let secret = begin_session(state, sender, provider, &token).await?;
    Ok((flow.next, secret))
}

/// Makes a verified token of a code.
async fn identify(
    state: &ApiState,
    provider: &SingleSignOn,
    flow: &SignOnFlow,
    back: &str,
    code: &str,
) -> Result<IdToken, FormFailure> {
    let addresses = addresses(state, provider).await?;
    let (body, header) = addresses.token_request(provider, flow, back, code);
    let answer = ask(state, "POST", &addresses.token_endpoint, body, header).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let token = answer["id_token"].as_str().ok_or_else(|| failed("it gives no `id_token`"))?;
    let keys = {
        let _place = place(state)?;
        fetch_keys(&addresses.jwks_uri, true).await.map_err(failed)?.keys
    };
    let (issuer, client) = (provider.issuer.as_str(), provider.client_id.as_str());
    let expected = ExpectedIdToken { issuer, client, nonce: &flow.nonce };
    verify_id_token(token, &keys, &expected, state.now().seconds()).map_err(failed)
}

/// Finds or makes the person of a token, and begins a session. Returns its secret.
async fn begin_session(
    state: &ApiState,
    sender: &FormSender,
    provider: &SingleSignOn,
    token: &IdToken,
) -> Result<String, FormFailure> {
    let actor = sender.named("single sign-on");
    let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
    let (issuer, subject) = (provider.issuer.as_str(), token.subject.as_str());
    let person = match people::find_subject(&mut change, issuer, subject).await? {
        Some(person) => person,
        None => link_or_create(state, &mut change, provider, token).await?,
    };
    if person.disabled_at.is_some() {
        return Err(FormFailure::ProviderRefused);
    }
    let secret = write_session(&mut change, sender, &person, "by single sign-on").await?;
    change.commit_entry().await?;
    Ok(secret)
}

/// Finds the person with the email address of a token, or makes one as its domain says.
async fn link_or_create(
    state: &ApiState,
    change: &mut AuditedChange<'_>,
    provider: &SingleSignOn,
    token: &IdToken,
) -> Result<Person, FormFailure> {
    let email = token.email.as_deref().and_then(read_email).ok_or(FormFailure::ProviderRefused)?;
    // Also for a person who is there: the provider answers for its own domains alone.
    let rule = provider.domain_of(&email).ok_or(FormFailure::ProviderRefused)?;
    let (issuer, subject) = (provider.issuer.as_str(), token.subject.as_str());
    let snapshot = state.snapshot();
    let tenant = match &rule.tenant {
        None => None,
        Some(name) => match snapshot.tenant_named(name) {
            Some(tenant) => Some(tenant.id.clone()),
            None => return Err(failed("`[sign_in.oidc]` names a tenant that does not exist")),
        },
    };
    let own = tenant.as_deref();
    if let Some(person) = people::link_subject(change, issuer, subject, &email, own).await? {
        return Ok(person);
    }
    let name = token.name.clone().unwrap_or_else(|| email.clone());
    let new = NewPerson {
        tenant: tenant.clone(),
        email: email.clone(),
        name,
        role: rule.role,
        password_hash: None,
    };
    match people::create(change, &new, PEOPLE_OF_TENANT).await {
        Ok(_) => {}
        // The account belongs to another subject, or the tenant has no place.
        Err(StoreError::Exists(_) | StoreError::TooMany(..)) => {
            return Err(FormFailure::ProviderRefused);
        }
        Err(error) => return Err(error.into()),
    }
    let linked = people::link_subject(change, issuer, subject, &email, tenant.as_deref()).await?;
    linked.ok_or(FormFailure::ProviderRefused)
}

/// Returns the provider, and where it sends browsers back.
fn provider(state: &ApiState) -> Result<(&SingleSignOn, String), FormFailure> {
    let (settings, _) = state.sign_in().map_err(|_| FormFailure::Provider)?;
    let provider = settings.single_sign_on.as_deref().ok_or(FormFailure::Provider)?;
    let url = settings.url.as_deref().ok_or_else(|| failed("`url` in `[sign_in]` is missing"))?;
    Ok((provider, format!("{url}{RETURN}")))
}

/// Returns what the provider says of itself, which is asked again now and then.
async fn addresses(
    state: &ApiState,
    provider: &SingleSignOn,
) -> Result<ProviderAddresses, FormFailure> {
    let (_, known) = state.sign_in().map_err(|_| FormFailure::Provider)?;
    if let Some(addresses) = known.provider(state.now()) {
        return addresses.ok_or(FormFailure::Provider);
    }
    let read = describe(state, provider).await;
    if read != Err(FormFailure::Busy) {
        known.set_provider(state.now(), read.as_ref().ok().cloned());
    }
    read
}

/// Asks the provider what it says of itself.
async fn describe(
    state: &ApiState,
    provider: &SingleSignOn,
) -> Result<ProviderAddresses, FormFailure> {
    let answer = ask(state, "GET", &provider.discovery(), String::new(), None).await?;
    let read = ProviderAddresses::read(&answer.body, provider);
    read.ok_or_else(|| failed("it does not describe itself as the `issuer`"))
}

async fn ask(
    state: &ApiState,
    method: &str,
    url: &str,
    body: String,
    authorization: Option<String>,
) -> Result<Fetched, FormFailure> {
    let _place = place(state)?;
    let mut headers = vec![("accept", "application/json".to_owned())];
    if !body.is_empty() {
        headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
    }
    headers.extend(authorization.map(|value| ("authorization", value)));
    let request = Fetch {
        method,
        url,
        headers: &headers,
        body: body.into_bytes(),
        time: TIME,
        max_answer: MAX_ANSWER,
        // The operator has named the provider, which may be inside the own network.
        public_only: false,
        tls: None,
    };
    let answer = fetch(request).await.map_err(failed)?;
    match answer.status {
        200 => Ok(answer),
        status => Err(failed(format!("it answers {method} {url} with status {status}"))),
    }
}

/// Takes a place for asking the provider: a share of its own, so that a provider that does not answer keeps no
/// tenant from its issuer.
fn place(state: &ApiState) -> Result<OutgoingPlace<'_>, FormFailure> {
    state.outgoing(Some(PLACE)).map_err(|_| FormFailure::Busy)
}

/// Tells the operator what is wrong with the provider.
fn failed(why: impl std::fmt::Display) -> FormFailure {
    tracing::warn!(%why, "single sign-on: the provider cannot be used");
    FormFailure::Provider
}

/// Sets the cookie of the way to the provider, or deletes it.
fn with_flow(mut response: Response, sealed: &str, sender: &FormSender) -> Response {
    if let Some(cookie) = cookie::set_flow(sealed, sender.is_secure) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
