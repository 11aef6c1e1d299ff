//! `[control]`: the database of tenants and keys.

use std::fmt;

use nucleus_control::database::DatabaseAddress;
use serde::{Deserialize, Deserializer, de};

/// The settings of the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    /// The PostgreSQL database; absent: SQLite in the data directory.
    pub database: Option<PostgresAddress>,
    /// Whether tenants that are not in the database are refused.
    pub listed_tenants_only: bool,
    /// Whether the API signs join tokens; absent: in development mode alone.
    pub mint_tokens: Option<bool>,
    /// Whether the key addresses of tenants' issuers may be inside this network.
    pub private_addresses: bool,
}

/// The address of a PostgreSQL database.
#[derive(Clone)]
pub struct PostgresAddress(pub DatabaseAddress);

/// Never shows a password.
impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for PostgresAddress {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl Eq for PostgresAddress {}

impl<'de> Deserialize<'de> for PostgresAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map(Self).map_err(de::Error::custom)
    }
}
