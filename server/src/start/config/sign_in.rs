//! `[sign_in]`: how people sign in to the dashboard.

use serde::Deserialize;

use super::value::ValueError;

/// How people sign in to the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignIn {
    /// Whether people sign in at all.
    pub on: bool,
    /// The address that browsers show, as `https://nucleus.example.com`; absent: that of the request.
    pub url: Option<String>,
}

impl Default for SignIn {
    fn default() -> Self {
        Self { on: true, url: None }
    }
}

impl SignIn {
    /// Checks the form of the address.
    ///
    /// # Errors
    ///
    /// It is no address of a web server, or has a path.
    pub(super) fn check(&self) -> Result<(), ValueError> {
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
