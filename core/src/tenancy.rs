//! What each tenant is allowed: its products, the dates of its licence, and its own limits.
//!
//! The control plane makes the list from its database, and joins read it. A tenant that is not on the
//! list has the limits of the configuration.

use std::collections::HashMap;

use thiserror::Error;

use crate::ids::Product;

/// What one tenant is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantPolicy {
    /// The products that the tenant has; empty: all.
    pub products: Vec<Product>,
    /// First second of the licence, since 1970; `None`: it has begun.
    pub starts_at: Option<u64>,
    /// First second after the licence, since 1970; `None`: it does not end.
    pub ends_at: Option<u64>,
    /// Whether the tenant may join at all.
    pub active: bool,
    /// Most sessions, in all products together; `None`: the server's limit.
    pub max_sessions: Option<u32>,
    /// Most rooms; `None`: the server's limit.
    pub max_rooms: Option<u32>,
    /// Most rooms that do not end when they are empty; `None`: the server's limit.
    pub max_kept_rooms: Option<u32>,
    /// Users who may not join, each with the first second after the ban, since 1970.
    pub bans: HashMap<String, u64>,
}

impl Default for TenantPolicy {
    /// A tenant without restrictions of its own.
    fn default() -> Self {
        Self {
            products: Vec::new(),
            starts_at: None,
            ends_at: None,
            active: true,
            max_sessions: None,
            max_rooms: None,
            max_kept_rooms: None,
            bans: HashMap::new(),
        }
    }
}

/// Why a tenant's user may not join. Each text is a whole sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotLicensed {
    /// An operator has switched the tenant off.
    #[error("the tenant is switched off on this server")]
    Inactive,
    /// The licence begins later.
    #[error("the tenant's licence has not begun")]
    NotBegun,
    /// The licence has ended.
    #[error("the tenant's licence has ended")]
    Ended,
    /// The tenant has not this product.
    #[error("the tenant's licence does not include this product")]
    Product,
    /// The user is banned.
    #[error("the user is banned from all rooms of the tenant")]
    Banned,
    /// The server admits listed tenants alone.
    #[error("the tenant is not known to this server")]
    Unknown,
}

/// The policies of all tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantPolicies {
    tenants: HashMap<String, TenantPolicy>,
    /// Whether tenants without a policy are refused.
    listed_only: bool,
}

impl TenantPolicies {
    /// Makes the list. With `listed_only`, tenants that are not on it are refused.
    pub fn new(tenants: HashMap<String, TenantPolicy>, listed_only: bool) -> Self {
        Self { tenants, listed_only }
    }

    /// Checks whether a user of a tenant may join a product at `now`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The reason why not.
    pub fn check(
        &self,
        tenant: &str,
        product: Product,
        user: &str,
        now: u64,
    ) -> Result<(), NotLicensed> {
        let Some(policy) = self.tenants.get(tenant) else {
            return if self.listed_only { Err(NotLicensed::Unknown) } else { Ok(()) };
        };
        if !policy.active {
            return Err(NotLicensed::Inactive);
        }
        if policy.starts_at.is_some_and(|start| now < start) {
            return Err(NotLicensed::NotBegun);
        }
        if policy.ends_at.is_some_and(|end| now >= end) {
            return Err(NotLicensed::Ended);
        }
        if !policy.products.is_empty() && !policy.products.contains(&product) {
            return Err(NotLicensed::Product);
        }
        if policy.bans.get(user).is_some_and(|end| now < *end) {
            return Err(NotLicensed::Banned);
        }
        Ok(())
    }

    /// Returns the policy of a tenant; `None`: it has none of its own.
    pub fn of(&self, tenant: &str) -> Option<&TenantPolicy> {
        self.tenants.get(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(policy: TenantPolicy, listed_only: bool) -> TenantPolicies {
        TenantPolicies::new([("acme".to_owned(), policy)].into(), listed_only)
    }

    #[test]
    fn a_licence_holds_from_its_first_second_to_the_one_before_its_end() {
        let dated =
            TenantPolicy { starts_at: Some(100), ends_at: Some(200), ..TenantPolicy::default() };
        let policies = listed(dated, false);
        let check = |now| policies.check("acme", Product::ATOM, "ada", now);
        assert_eq!(check(99), Err(NotLicensed::NotBegun));
        assert_eq!((check(100), check(199)), (Ok(()), Ok(())));
        assert_eq!(check(200), Err(NotLicensed::Ended));
    }

    #[test]
    fn a_tenant_has_its_products_and_may_be_switched_off() {
        let atom = TenantPolicy { products: vec![Product::ATOM], ..TenantPolicy::default() };
        assert_eq!(listed(atom.clone(), false).check("acme", Product::ATOM, "ada", 0), Ok(()));
        let other = listed(atom.clone(), false).check("acme", Product::ASSIST, "ada", 0);
        assert_eq!(other, Err(NotLicensed::Product));
        let off = TenantPolicy { active: false, ..atom };
        assert_eq!(
            listed(off, false).check("acme", Product::ATOM, "ada", 0),
            Err(NotLicensed::Inactive)
        );
    }

    #[test]
    fn a_banned_user_stays_out_until_the_ban_ends() {
        let bans = [("ada".to_owned(), 100), ("bob".to_owned(), u64::MAX)].into();
        let policies = listed(TenantPolicy { bans, ..TenantPolicy::default() }, false);
        let check = |user, now| policies.check("acme", Product::ATOM, user, now);
        assert_eq!((check("ada", 99), check("ada", 100)), (Err(NotLicensed::Banned), Ok(())));
        assert_eq!(check("bob", u64::MAX - 1), Err(NotLicensed::Banned));
        assert_eq!(check("eve", 0), Ok(()));
        assert_eq!(policies.check("other", Product::ATOM, "bob", 0), Ok(()));
    }

    #[test]
    fn other_tenants_are_admitted_unless_the_list_is_all() {
        let check =
            |only| listed(TenantPolicy::default(), only).check("b", Product::ATOM, "ada", 0);
        assert_eq!(check(false), Ok(()));
        assert_eq!(check(true), Err(NotLicensed::Unknown));
    }
}
