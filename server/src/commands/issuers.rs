//! `nucleus issuers`: who signs the join tokens of a tenant.

use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiError};
use super::args::IssuersCommand;
use super::table::Column;
use super::tenant_id;
use crate::text_file;

pub(super) const COLUMNS: [Column; 6] = [
    Column::text("ID", "id"),
    Column::text("TENANT", "tenant"),
    Column::text("NAME", "name"),
    Column::text("ALGORITHM", "algorithm"),
    Column::text("PUBLISHED AT", "jwks_url"),
    Column::text("FETCHED", "keys_at"),
];

/// Makes or deletes an issuer. Returns what there is to show.
///
/// # Errors
///
/// The file cannot be read, or the server cannot be reached or refuses the request.
pub(super) async fn act(client: &ApiClient, act: IssuersCommand) -> Result<Value, ApiError> {
    match act {
        IssuersCommand::Create {
            name,
            tenant,
            public_key_file,
            algorithm,
            kid,
            jwks_url,
            audience,
        } => {
            let public_key = public_key_file.map(|path| {
                let unreadable = |source| ApiError::UnreadableFile(path.clone(), source);
                let bytes = text_file::read(&path).map_err(unreadable)?;
                Ok::<_, ApiError>(String::from_utf8_lossy(&bytes).into_owned())
            });
            let body = json!({
                "name": name,
                "tenant": tenant_id(client, &tenant).await?,
                "public_key": public_key.transpose()?,
                "algorithm": algorithm,
                "kid": kid,
                "jwks_url": jwks_url,
                "audience": audience,
            });
            client.send("POST", "/issuers", body).await
        }
        IssuersCommand::Delete { id } => {
            client.send("DELETE", &format!("/issuers/{id}"), Value::Null).await
        }
    }
}
