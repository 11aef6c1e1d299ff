//! The issuers of tenants: whose join tokens a server takes besides its own.

use std::collections::HashMap;

use super::key::VerificationKey;

/// A key of an issuer.
#[derive(Debug, Clone)]
pub struct IssuerKey {
    /// The id that tokens must name as `kid`; `None`: the key verifies whatever they name.
    pub id: Option<String>,
    /// The key.
    pub key: VerificationKey,
    /// The audience that the issuer's tokens name; `None`: the server's.
    pub audience: Option<String>,
}

/// The keys of one tenant's issuers.
#[derive(Debug, Clone, Default)]
struct TenantKeys {
    keys: Vec<IssuerKey>,
    /// Whether an issuer of the tenant publishes its keys, so that there may be newer ones.
    publishes: bool,
}

/// The keys of all tenants' issuers. A key verifies tokens of its own tenant alone.
#[derive(Debug, Clone, Default)]
pub struct IssuerKeys(HashMap<String, TenantKeys>);

impl IssuerKeys {
    /// Adds a key of an issuer of the tenant with this name.
    pub fn add(&mut self, tenant: &str, key: IssuerKey) {
        self.of_mut(tenant).keys.push(key);
    }

    /// Notes that an issuer of this tenant publishes its keys.
    pub fn publishes(&mut self, tenant: &str) {
        self.of_mut(tenant).publishes = true;
    }

    fn of_mut(&mut self, tenant: &str) -> &mut TenantKeys {
        self.0.entry(tenant.to_owned()).or_default()
    }

    /// Returns the keys of a tenant that may have signed a token with this `kid`: those with this id
    /// first, then those without an id.
    pub(super) fn named(
        &self,
        tenant: &str,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &IssuerKey> {
        let keys = self.0.get(tenant).map_or(&[][..], |tenant| &tenant.keys);
        let has_id = move |key: &&IssuerKey| kid.is_some() && key.id.as_deref() == kid;
        keys.iter().filter(has_id).chain(keys.iter().filter(|key| key.id.is_none()))
    }

    /// Returns whether the key with this id may be one that an issuer of the tenant has published since
    /// its keys were fetched.
    pub(super) fn may_be_new(&self, tenant: &str, kid: Option<&str>) -> bool {
        let (Some(tenant), Some(kid)) = (self.0.get(tenant), kid) else { return false };
        tenant.publishes && !tenant.keys.iter().any(|key| key.id.as_deref() == Some(kid))
    }
}
