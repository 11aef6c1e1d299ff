//! `people`: who signs in to the dashboard.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Scope};
use super::extract::{Id, JsonBody, ListPage, MAX_PAGE, PageQuery, UrlQuery, plain};
use super::problem::Problem;
use super::responses::{Common, OfBody, OfOne};
use super::state::ApiState;
use crate::people::{
    PEOPLE_OF_TENANT, PersonRole, SecretText, check_password, new_secret, read_email,
};
use crate::store::{
    ConsoleSession, NewPerson, OneTimeLink, Person, PersonChange, StoreError, audit,
    console_sessions, one_time_links, people,
};
use crate::timestamp::Timestamp;

/// Most bytes of a person's name.
pub(super) const MAX_NAME: usize = 128;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, change, delete))
        .routes(routes!(link))
        .routes(routes!(sessions, end_sessions))
}

/// A person to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonBody {
    /// The email address, by which the person signs in. Upper and lower case are the same.
    #[schema(min_length = 3, max_length = 254)]
    email: String,
    /// The name, for people; absent: the email address.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// What the person may do. Nobody gives more than they have.
    role: PersonRole,
    /// The id of the tenant that the person sees; absent: the tenant of the caller, or the whole server if
    /// the caller has none.
    #[serde(default)]
    tenant: Option<String>,
    /// The password; absent: a link will set one.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 12, max_length = 128)]
    password: Option<SecretText>,
}

/// What of a person is changed. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonPatch {
    /// The name, for people.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// What the person may do. Ends all sessions of the person.
    #[serde(default)]
    role: Option<PersonRole>,
    /// Whether the person may not sign in. Ends all sessions of the person.
    #[serde(default)]
    disabled: Option<bool>,
    /// Whether the authenticator app is taken away, for a person who has lost it.
    #[serde(default)]
    remove_totp: bool,
}

/// A link that was just made.
#[derive(Debug, Serialize, ToSchema)]
struct PersonLink {
    /// The address to open in a browser; only its path, if the server does not know its address (`url` in
    /// `[sign_in]`). It is shown this once.
    url: String,
    /// From when on it is refused.
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
}

/// Which sessions are to end.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SessionsQuery {
    /// The id of the session; absent: all.
    #[serde(default)]
    #[param(max_length = 36)]
    session: Option<String>,
}

/// How many sessions have ended.
#[derive(Debug, Serialize, ToSchema)]
struct EndedSessions {
    /// How many.
    ended: u64,
}

/// The people that the caller may see, in the order of their making.
#[utoipa::path(
    get,
    path = "/people",
    operation_id = "list_people",
    tag = "people",
    params(PageQuery),
    security(("key" = ["manage"])),
    responses((status = 200, description = "A page of people", body = ListPage<Person>), Common)
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    UrlQuery(query): UrlQuery<PageQuery>,
) -> Result<Json<ListPage<Person>>, Problem> {
    caller.needs(Scope::Manage)?;
    let page = query.check()?;
    let found = people::list(state.database(), caller.tenant_id(), &page).await?;
    Ok(Json(ListPage::new(found, page.limit, |person| &person.id)))
}

/// Makes a person. Without a password, the person needs a link.
#[utoipa::path(
    post,
    path = "/people",
    operation_id = "create_person",
    tag = "people",
    request_body = PersonBody,
    security(("key" = ["manage"])),
    responses((status = 201, description = "The person", body = Person), Common, OfOne, OfBody)
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<PersonBody>,
) -> Result<Response, Problem> {
    caller.needs(Scope::Manage)?;
    let new = check(&state, &caller, body).await?;
    let mut change = state.begin(&caller.actor).await?;
    let person = people::create(&mut change, &new, PEOPLE_OF_TENANT).await.map_err(|error| {
        match error {
            // A tenant's manager must not learn who else signs in, and a name tells nothing here.
            StoreError::Exists(_) => Problem::conflict("this email address is taken"),
            error => error.into(),
        }
    })?;
    change.commit_entry().await?;
    Ok((StatusCode::CREATED, Json(person)).into_response())
}

/// Checks the values of a person to be made.
async fn check(state: &ApiState, caller: &Caller, body: PersonBody) -> Result<NewPerson, Problem> {
    let tenant = body.tenant.or_else(|| caller.tenant_id().map(str::to_owned));
    if tenant.as_deref().is_some_and(|tenant| !caller.sees(tenant)) {
        return Err(Problem::not_found("there is no such tenant"));
    }
    check_rights(caller, body.role)?;
    check_lasting(caller)?;
    check_role(body.role, tenant.as_deref())?;
    let email = read_email(&body.email)
        .ok_or_else(|| Problem::invalid("`email` must be an address, as ada@example.com"))?;
    let name = match &body.name {
        Some(name) => plain("name", name, MAX_NAME)?,
        None => email.chars().take(MAX_NAME / 4).collect(),
    };
    let password_hash = match body.password {
        None => None,
        Some(password) => {
            let password = check_password(&password, &email);
            let password = password.map_err(|fault| Problem::invalid(fault.to_string()))?;
            let hashed = state.sign_in()?.0.passwords.hash(password).await;
            Some(hashed.map_err(|busy| Problem::too_many(busy.to_string()))?)
        }
    };
    Ok(NewPerson { tenant, email, name, role: body.role, password_hash })
}

/// Checks that a caller has all that a role allows.
fn check_rights(caller: &Caller, role: PersonRole) -> Result<(), Problem> {
    match role.scopes().iter().find(|scope| !caller.may_grant(**scope)) {
        None => Ok(()),
        Some(more) => Err(Problem::forbidden(format!(
            "the role {role} has the scope `{more}`, which {} lacks itself",
            caller.described()
        ))),
    }
}

/// Checks that a caller does not end: people do not.
fn check_lasting(caller: &Caller) -> Result<(), Problem> {
    match caller.expires_at {
        None => Ok(()),
        Some(end) => Err(Problem::forbidden(format!(
            "the API key ends itself at {end}: it gives nobody what lasts longer"
        ))),
    }
}

fn check_role(role: PersonRole, tenant: Option<&str>) -> Result<(), Problem> {
    match tenant {
        Some(_) if !role.may_be_of_tenant() => {
            Err(Problem::invalid(format!("`role`: a person of a tenant cannot be {role}")))
        }
        None if !role.may_be_of_server() => {
            Err(Problem::invalid(format!("`role`: {role} needs a `tenant`")))
        }
        _ => Ok(()),
    }
}

/// Returns a person upon whom a caller may act: one who has no more than the caller.
async fn find(state: &ApiState, caller: &Caller, id: &str) -> Result<Person, Problem> {
    caller.needs(Scope::Manage)?;
    let person = people::get(state.database(), caller.tenant_id(), id).await?;
    check_rights(caller, person.role)?;
    Ok(person)
}

/// Returns a person of whom a caller may know: also oneself.
async fn find_or_self(state: &ApiState, caller: &Caller, id: &str) -> Result<Person, Problem> {
    if caller.person() != Some(id) {
        caller.needs(Scope::Manage)?;
    }
    Ok(people::get(state.database(), caller.tenant_id(), id).await?)
}

/// Checks that a caller acts upon somebody else: nobody locks themself out, and a browser that is left open
/// gives nobody a way around the password.
fn check_other(caller: &Caller, id: &str) -> Result<(), Problem> {
    if caller.person() == Some(id) {
        return Err(Problem::conflict("this is your own account: somebody else must do this"));
    }
    Ok(())
}

/// A person.
#[utoipa::path(
    get,
    path = "/people/{id}",
    operation_id = "get_person",
    tag = "people",
    params(("id" = String, Path, description = "The person's id")),
    security(("key" = ["manage"])),
    responses((status = 200, description = "The person", body = Person), Common, OfOne)
)]
async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Person>, Problem> {
    Ok(Json(find_or_self(&state, &caller, &id).await?))
}

/// Changes a person: the name, the role, whether the person may sign in.
#[utoipa::path(
    patch,
    path = "/people/{id}",
    operation_id = "change_person",
    tag = "people",
    params(("id" = String, Path, description = "The person's id")),
    request_body = PersonPatch,
    security(("key" = ["manage"])),
    responses((status = 200, description = "The person", body = Person), Common, OfOne, OfBody)
)]
async fn change(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    JsonBody(body): JsonBody<PersonPatch>,
) -> Result<Json<Person>, Problem> {
    let person = find(&state, &caller, &id).await?;
    if body.role.is_some() || body.disabled.is_some() || body.remove_totp {
        check_other(&caller, &id)?;
        check_lasting(&caller)?;
    }
    if let Some(role) = body.role {
        check_rights(&caller, role)?;
        check_role(role, person.tenant.as_deref())?;
    }
    let to = PersonChange {
        name: body.name.map(|name| plain("name", &name, MAX_NAME)).transpose()?,
        role: body.role.filter(|role| *role != person.role),
        disabled: body.disabled,
        remove_totp: body.remove_totp,
    };
    let mut change = state.begin(&caller.actor).await?;
    let changed = people::change(&mut change, caller.tenant_id(), &id, &to).await?;
    change.commit_entry().await?;
    Ok(Json(changed))
}

/// Deletes a person. The entries of the audit stay.
#[utoipa::path(
    delete,
    path = "/people/{id}",
    operation_id = "delete_person",
    tag = "people",
    params(("id" = String, Path, description = "The person's id")),
    security(("key" = ["manage"])),
    responses((status = 204, description = "The person is deleted"), Common, OfOne)
)]
async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    find(&state, &caller, &id).await?;
    check_other(&caller, &id)?;
    let mut change = state.begin(&caller.actor).await?;
    people::delete(&mut change, caller.tenant_id(), &id).await?;
    change.commit_entry().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a link by which a person sets a password. It works once and for an hour; an earlier one of the same
/// person works no more.
#[utoipa::path(
    post,
    path = "/people/{id}/link",
    operation_id = "create_person_link",
    tag = "people",
    params(("id" = String, Path, description = "The person's id")),
    security(("key" = ["manage"])),
    responses((status = 201, description = "The link", body = PersonLink), Common, OfOne)
)]
async fn link(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response, Problem> {
    let person = find(&state, &caller, &id).await?;
    check_other(&caller, &id)?;
    check_lasting(&caller)?;
    let url = state.sign_in()?.0.url.as_deref().unwrap_or_default();
    if person.disabled_at.is_some() {
        return Err(Problem::conflict("the person may not sign in: enable the account first"));
    }
    let (token, hash) = new_secret().map_err(StoreError::from)?;
    let mut change = state.begin(&caller.actor).await?;
    let of_person = OneTimeLink::Password(id.clone());
    let ends_at = one_time_links::create(&mut change, &of_person, &hash).await?;
    let tenant = person.tenant.as_deref();
    audit::note(&mut change, tenant, "person.link", &id, &person.email).await?;
    change.commit_entry().await?;
    let made = PersonLink { url: format!("{url}/link?token={token}"), ends_at };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// The browsers in which a person is signed in, the newest last. Everybody sees their own.
#[utoipa::path(
    get,
    path = "/people/{id}/sessions",
    operation_id = "list_person_sessions",
    tag = "people",
    params(("id" = String, Path, description = "The person's id")),
    security(("key" = ["manage"])),
    responses(
        (status = 200, description = "The sessions", body = ListPage<ConsoleSession>),
        Common,
        OfOne
    )
)]
async fn sessions(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<ListPage<ConsoleSession>>, Problem> {
    let person = find_or_self(&state, &caller, &id).await?;
    let found = console_sessions::list(state.database(), &person.id, state.now()).await?;
    Ok(Json(ListPage::new(found, MAX_PAGE, |session| &session.id)))
}

/// Signs a person out: of one browser, or of all. Everybody ends their own.
#[utoipa::path(
    delete,
    path = "/people/{id}/sessions",
    operation_id = "end_person_sessions",
    tag = "people",
    params(("id" = String, Path, description = "The person's id"), SessionsQuery),
    security(("key" = ["manage"])),
    responses(
        (status = 200, description = "How many have ended", body = EndedSessions),
        Common,
        OfOne
    )
)]
async fn end_sessions(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id,
    UrlQuery(query): UrlQuery<SessionsQuery>,
) -> Result<Json<EndedSessions>, Problem> {
    let person = match caller.person() == Some(id.as_str()) {
        true => find_or_self(&state, &caller, &id).await?,
        false => find(&state, &caller, &id).await?,
    };
    let mut change = state.begin(&caller.actor).await?;
    let ended = console_sessions::end(&mut change, &person, query.session.as_deref()).await?;
    change.commit_entry().await?;
    Ok(Json(EndedSessions { ended }))
}
