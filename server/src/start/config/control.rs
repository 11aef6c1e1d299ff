//! `[control]`: the database of tenants and keys.

use std::fmt;

use nucleus_control::database::DatabaseAddress;
use serde::{Deserialize, Deserializer, de};

use super::value::ValueError;

/// Days for which the audit is kept unless the configuration says otherwise: it holds names of users.
const AUDIT_DAYS: u32 = 365;
/// Most days: ten years, as long as business records are kept anywhere.
const MAX_AUDIT_DAYS: u32 = 3_650;

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
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self {
            database: None,
            listed_tenants_only: false,
            mint_tokens: None,
            private_addresses: false,
            audit_days: AUDIT_DAYS,
        }
    }
}

impl ControlSettings {
    /// Checks the range of every value.
    ///
    /// # Errors
    ///
    /// The first value that is out of its range.
    pub(super) fn check(&self) -> Result<(), ValueError> {
        if (1..=MAX_AUDIT_DAYS).contains(&self.audit_days) {
            return Ok(());
        }
        let days = self.audit_days;
        Err(ValueError::new(format!(
            "control.audit_days = {days} is out of range: write 1 to {MAX_AUDIT_DAYS}"
        )))
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
