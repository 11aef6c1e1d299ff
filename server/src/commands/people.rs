//! `nucleus admin`: who signs in to the dashboard.

use std::io::{self, Read};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::api_client::{ApiClient, ApiError};
use super::people_args::AdminCommand;
use super::table::Column;
use super::{list, tenant_id};

/// Most bytes of a password that are read: more than the server takes.
const MAX_PASSWORD: u64 = 4_096;

pub(super) const COLUMNS: [Column; 7] = [
    Column::text("ID", "id"),
    Column::text("EMAIL", "email"),
    Column::text("NAME", "name"),
    Column::text("ROLE", "role"),
    Column::text("TENANT", "tenant"),
    Column::text("LAST SIGN-IN", "signed_in_at"),
    Column::text("DISABLED", "disabled_at"),
];

/// Carries out an act. Returns what there is to show: people, one person, or a link.
///
/// # Errors
///
/// The password cannot be read, or the server cannot be reached or refuses the request.
pub(super) async fn act(client: &ApiClient, act: AdminCommand) -> Result<Value, ApiError> {
    match act {
        AdminCommand::List => list(client, "/people", &[]).await,
        AdminCommand::Create { email, name, role, tenant, password_stdin } => {
            let default = if tenant.is_some() { "partner_admin" } else { "super_admin" };
            let tenant = match tenant {
                Some(name) => Some(tenant_id(client, &name).await?),
                None => None,
            };
            let password = match password_stdin {
                true => Some(read_password().map_err(ApiError::UnreadablePassword)?),
                false => None,
            };
            let body = json!({
                "email": email,
                "name": name,
                "role": role.unwrap_or_else(|| default.to_owned()),
                "tenant": tenant,
                "password": password.as_ref().map(|password| password.as_str()),
            });
            let made = client.send("POST", "/people", body).await?;
            match made["id"].as_str() {
                Some(id) if password.is_none() => link(client, id).await,
                _ => Ok(made),
            }
        }
        AdminCommand::Disable { email } => change(client, &email, json!({"disabled": true})).await,
        AdminCommand::Enable { email } => change(client, &email, json!({"disabled": false})).await,
        AdminCommand::Role { email, role } => change(client, &email, json!({"role": role})).await,
        AdminCommand::Reset { email, totp } => {
            let id = person_id(client, &email).await?;
            if totp {
                let body = json!({"remove_totp": true});
                client.send("PATCH", &format!("/people/{id}"), body).await?;
            }
            link(client, &id).await
        }
        AdminCommand::Delete { email } => {
            let id = person_id(client, &email).await?;
            client.send("DELETE", &format!("/people/{id}"), Value::Null).await
        }
    }
}

async fn change(client: &ApiClient, email: &str, body: Value) -> Result<Value, ApiError> {
    let id = person_id(client, email).await?;
    client.send("PATCH", &format!("/people/{id}"), body).await
}

async fn link(client: &ApiClient, id: &str) -> Result<Value, ApiError> {
    let mut link = client.send("POST", &format!("/people/{id}/link"), Value::Null).await?;
    if let Some(url) = link["url"].as_str() {
        link["url"] = client.absolute(url).into();
    }
    Ok(link)
}

/// Returns the id of the person with an email address.
async fn person_id(client: &ApiClient, email: &str) -> Result<String, ApiError> {
    let people = list(client, "/people", &[]).await?;
    let wanted = email.trim().to_lowercase();
    let found = people.as_array().into_iter().flatten().find(|person| person["email"] == *wanted);
    let id = found.and_then(|person| person["id"].as_str());
    id.map(str::to_owned).ok_or_else(|| ApiError::NoSuchPerson(email.to_owned()))
}

/// Reads the first line of stdin.
fn read_password() -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}
