//! What happens beside the requests: the link for the first administrator, the audit of failed attempts, and
//! the end of old sessions.

use std::time::Duration;

use crate::api::state::ApiState;
use crate::people::new_secret;
use crate::store::{
    Actor, AuditedChange, OneTimeLink, StoreError, audit, console_sessions, one_time_links, people,
};

/// How often failed attempts are written to the audit, and old sessions deleted.
const EVERY: Duration = Duration::from_secs(300);
/// How often the database is asked whether there is anybody, while it does not answer.
const RETRY: Duration = Duration::from_secs(10);

/// Keeps what people need to sign in. Never returns.
pub async fn keep_sign_in(state: ApiState) {
    loop {
        match first_admin_link(&state).await {
            Ok(Some(link)) => {
                tracing::info!("to make the first administrator, open within an hour: {link}");
                break;
            }
            Ok(None) => break,
            Err(error) => tracing::debug!(%error, "no link for the first administrator yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = note_failed_sign_ins(&state).await {
            tracing::warn!(%error, "failed attempts to sign in are not in the audit");
        }
        if let Err(error) = console_sessions::delete_ended(state.database(), state.now()).await {
            tracing::debug!(%error, "sessions that have ended are not deleted yet");
        }
    }
}

/// Makes a link for the first administrator. `None`: there is somebody, or nobody signs in here.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn first_admin_link(state: &ApiState) -> Result<Option<String>, StoreError> {
    let Ok((settings, _)) = state.sign_in() else { return Ok(None) };
    if people::is_anybody(state.database()).await? {
        return Ok(None);
    }
    let (token, hash) = new_secret()?;
    let actor = process();
    let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
    one_time_links::create(&mut change, &OneTimeLink::FirstAdmin, &hash).await?;
    audit::note(&mut change, None, "person.link", "", "for the first administrator").await?;
    change.commit_entry().await?;
    let url = settings.url.as_deref().unwrap_or_default();
    Ok(Some(format!("{url}/link?token={token}")))
}

/// Writes the failed attempts since the last time to the audit.
///
/// # Errors
///
/// The database cannot be reached. The attempts that are not written are in the log.
pub async fn note_failed_sign_ins(state: &ApiState) -> Result<(), StoreError> {
    let Ok((_, attempts)) = state.sign_in() else { return Ok(()) };
    let entries = attempts.failed().take();
    let mut result = Ok(());
    for entry in entries {
        let (person, tenant) = (entry.person.unwrap_or_default(), entry.tenant);
        let detail = format!("failed attempts: {}", entry.count);
        let actor = Actor { ip: entry.network, ..process() };
        let noted = async {
            let mut change = AuditedChange::begin(state.database(), &actor, state.now()).await?;
            let action = "person.sign_in_failed";
            audit::note(&mut change, tenant.as_deref(), action, &person, &detail).await?;
            change.commit_entry().await
        };
        if let Err(error) = noted.await {
            let ip = &actor.ip;
            tracing::warn!(target: "audit", person, ip, detail, "not in the database");
            result = Err(error);
        }
    }
    result
}

/// Who acts if nobody does.
fn process() -> Actor {
    Actor { name: "server".to_owned(), ip: String::new(), request_id: String::new() }
}
