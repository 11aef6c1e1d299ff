//! `[sign_in]`: how people sign in to the dashboard.

use std::path::PathBuf;

use nucleus_control::people::{PersonRole, SignOnDomain};
use nucleus_core::limits::within;
use nucleus_core::text::printable;
use serde::Deserialize;

use super::value::ValueError;

/// Most email domains of `[sign_in.oidc]`: one for each of many customers.
const MAX_DOMAINS: usize = 256;

/// How people sign in to the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignIn {
    /// Whether people sign in at all.
    pub on: bool,
    /// The address that browsers show, as `https://nucleus.example.com`; absent: that of the request.
    pub url: Option<String>,
    /// Single sign-on with OpenID Connect; absent: none.
    pub oidc: Option<OidcProvider>,
}

/// `[sign_in.oidc]`: the provider of single sign-on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcProvider {
    /// The provider's address, which its tokens name as `iss`.
    pub issuer: String,
    /// The id by which the provider knows this server.
    pub client_id: String,
    /// The file of the secret that the provider has given with it; absent: there is none.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// The provider's name, for people; absent: its address.
    #[serde(default)]
    pub label: Option<String>,
    /// The email domains whose people may come, 1 to 256.
    pub domains: Vec<SignOnDomain>,
}

impl Default for SignIn {
    fn default() -> Self {
        Self { on: true, url: None, oidc: None }
    }
}

impl SignIn {
    /// Checks the addresses and the domains.
    ///
    /// # Errors
    ///
    /// The first value that cannot be used.
    pub(super) fn check(&self) -> Result<(), ValueError> {
        self.check_url()?;
        let Some(oidc) = &self.oidc else { return Ok(()) };
        if self.url.is_none() {
            return Err(ValueError::new(
                "[sign_in.oidc] needs sign_in.url, the address to which the provider sends browsers back",
            ));
        }
        oidc.check()
    }

    fn check_url(&self) -> Result<(), ValueError> {
        let Some(url) = &self.url else { return Ok(()) };
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let may_be_in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if host.is_some_and(|host| !host.is_empty() && host.bytes().all(may_be_in_host)) {
            return Ok(());
        }
        Err(ValueError::new(
            "sign_in.url must be https:// or http:// and a host, perhaps with a port, and no path, as in \
             https://nucleus.example.com",
        ))
    }
}

impl OidcProvider {
    fn check(&self) -> Result<(), ValueError> {
        if !self.issuer.starts_with("https://") {
            return Err(ValueError::new("sign_in.oidc.issuer must be an https address"));
        }
        within("the length of sign_in.oidc.client_id", self.client_id.len(), 1..=256)?;
        within("the length of sign_in.oidc.domains", self.domains.len(), 1..=MAX_DOMAINS)?;
        for SignOnDomain { domain, role, tenant } in &self.domains {
            let fits = match tenant {
                Some(_) => role.may_be_of_tenant(),
                // Whoever has an address of a domain must not become one who may do everything.
                None => role.may_be_of_server() && *role != PersonRole::SuperAdmin,
            };
            if !fits {
                return Err(ValueError::new(format!(
                    "sign_in.oidc.domains: {}: role must be operator or viewer, or partner_admin with a \
                     tenant",
                    printable(domain)
                )));
            }
            if domain.is_empty() || domain.contains('@') {
                return Err(ValueError::new(
                    "sign_in.oidc.domains: domain is what stands behind the @, as example.com",
                ));
            }
        }
        Ok(())
    }
}
