//! `nucleus webhooks`: addresses that are told of events.

use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiError};
use super::args::WebhooksCommand;
use super::table::Column;
use super::{list, tenant_id};

const WEBHOOKS: [Column; 7] = [
    Column::text("ID", "id"),
    Column::text("TENANT", "tenant"),
    Column::text("NAME", "name"),
    Column::text("ADDRESS", "url"),
    Column::list("EVENTS", "events", "all"),
    Column::text("OFF BECAUSE", "off_reason"),
    Column::text("PROBLEM", "problem"),
];
const DELIVERIES: [Column; 6] = [
    Column::text("ID", "id"),
    Column::text("KIND", "kind"),
    Column::text("OF", "created_at"),
    Column::number("TRIES", "tries"),
    Column::text("ANSWER", "answer"),
    Column::text("NEXT TRY", "next_at"),
];
const REPLAYED: [Column; 1] = [Column::number("SENT AGAIN", "deliveries")];

/// Carries out an act; `None`: lists the webhooks. Returns what there is to show, and its columns.
///
/// # Errors
///
/// The server cannot be reached or refuses the request.
pub(super) async fn act(
    client: &ApiClient,
    act: Option<WebhooksCommand>,
) -> Result<(Value, &'static [Column]), ApiError> {
    let Some(act) = act else { return Ok((list(client, "/webhooks", &[]).await?, &WEBHOOKS)) };
    let switch = async |id: String, on: bool| {
        client.send("POST", &format!("/webhooks/{id}/switch"), json!({"on": on})).await
    };
    Ok(match act {
        WebhooksCommand::Create { name, address, tenant, events } => {
            let tenant = match tenant {
                Some(name) => Some(tenant_id(client, &name).await?),
                None => None,
            };
            let body = json!({"name": name, "url": address, "tenant": tenant, "events": events});
            (client.send("POST", "/webhooks", body).await?, &WEBHOOKS)
        }
        WebhooksCommand::Delete { id } => {
            (client.send("DELETE", &format!("/webhooks/{id}"), Value::Null).await?, &WEBHOOKS)
        }
        WebhooksCommand::On { id } => (switch(id, true).await?, &WEBHOOKS),
        WebhooksCommand::Off { id } => (switch(id, false).await?, &WEBHOOKS),
        WebhooksCommand::Test { id } => {
            let path = format!("/webhooks/{id}/test");
            (client.send("POST", &path, Value::Null).await?, &DELIVERIES)
        }
        WebhooksCommand::Deliveries { id } => {
            let path = format!("/webhooks/{id}/deliveries");
            (list(client, &path, &[]).await?, &DELIVERIES)
        }
        WebhooksCommand::Replay { id, since, delivery } => {
            let body = json!({"since": since, "delivery": delivery});
            (client.send("POST", &format!("/webhooks/{id}/replay"), body).await?, &REPLAYED)
        }
    })
}
