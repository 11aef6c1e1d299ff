//! `[web]`: which web pages may hold sessions.

use std::collections::BTreeMap;

use nucleus_core::origins::{OriginList, Origins};
use serde::Deserialize;

use super::value::ValueError;

/// The origins of the web pages that may hold sessions. See [`nucleus_core::origins`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSettings {
    /// The pages of tenants that are not in `tenants`. Absent: none; in development mode the pages of
    /// the browser's own machine.
    pub origins: Option<Vec<String>>,
    /// By the name of a tenant: the pages that may hold its sessions, in place of `origins`.
    pub tenants: BTreeMap<String, Vec<String>>,
}

impl WebSettings {
    /// Checks the form of every origin.
    ///
    /// # Errors
    ///
    /// The first item that is no origin, or a list that is too long.
    pub(super) fn check(&self) -> Result<(), ValueError> {
        let own = self.origins.iter().map(|list| ("web.origins".to_owned(), list));
        let tenants = self.tenants.iter().map(|(name, list)| (format!("web.tenants.{name}"), list));
        for (key, list) in own.chain(tenants) {
            OriginList::parse(list).map_err(|bad| ValueError::new(format!("{key}: {}", bad.0)))?;
        }
        Ok(())
    }

    /// Returns the origins, with the defaults of development mode or of production. A list that
    /// `check` refuses admits nobody.
    pub fn origins(&self, is_development: bool) -> Origins {
        let parse = |list: &Vec<String>| OriginList::parse(list).unwrap_or_default();
        let others = match &self.origins {
            Some(list) => parse(list),
            None if is_development => OriginList::loopback(),
            None => OriginList::default(),
        };
        let tenants = self.tenants.iter().map(|(name, list)| (name.clone(), parse(list)));
        Origins { others, tenants: tenants.collect() }
    }
}
