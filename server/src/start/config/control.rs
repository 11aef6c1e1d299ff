//! `[control]`: the database of tenants and keys.

use std::fmt;
use std::ops::RangeInclusive;

use nucleus_control::database::DatabaseAddress;
use serde::{Deserialize, Deserializer, de};

/// The settings of the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
    /// How many days the entries of the audit are kept.
    pub audit_days: u32,
    /// How many days the history is kept.
    pub history_days: u32,
}

/// The days for which the audit and the history may be kept: a day to ten years, as long as business records
/// are kept anywhere.
pub(super) const DAYS: RangeInclusive<u32> = 1..=3_650;

impl Default for ControlSettings {
    fn default() -> Self {
        Self {
            database: None,
            listed_tenants_only: false,
            mint_tokens: None,
            private_addresses: false,
            // They hold names of users.
            audit_days: 365,
            history_days: 90,
        }
    }
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
