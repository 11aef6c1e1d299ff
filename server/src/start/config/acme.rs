//! `[acme]`: the authority from which the server gets its certificate.

use std::path::PathBuf;

use nucleus_core::limits::within;
use serde::Deserialize;

use super::value::ValueError;

/// Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Most names of a certificate. Each is validated by itself; authorities allow some tens.
const MAX_DOMAINS: usize = 16;
/// Most characters of a host name (RFC 1035).
const MAX_DOMAIN: usize = 253;

/// Where and for which names the server orders its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeSettings {
    /// The host names of the certificate, in ASCII.
    pub domains: Vec<String>,
    /// The directory of the authority, an https address.
    #[serde(default = "lets_encrypt")]
    pub directory: String,
    /// Whom the authority may write to, such as `mailto:operator@example.com`.
    #[serde(default)]
    pub contact: Option<String>,
    /// Root certificates, PEM, by which the authority's own certificate is verified as well; for an
    /// authority inside a network.
    #[serde(default)]
    pub root_file: Option<PathBuf>,
    /// The account at the authority's owner to which this server's account belongs, for an authority
    /// that demands one.
    #[serde(default)]
    pub external_account: Option<ExternalAccount>,
}

/// The external account binding of RFC 8555.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    /// The key's id.
    pub key_id: String,
    /// The file with the key in base64url, as authorities show it.
    pub key_file: PathBuf,
}

fn lets_encrypt() -> String {
    LETS_ENCRYPT.to_owned()
}

impl AcmeSettings {
    /// Checks the names and addresses.
    ///
    /// # Errors
    ///
    /// The first value that cannot be used.
    pub(super) fn check(&self) -> Result<(), ValueError> {
        within("the length of acme.domains", self.domains.len(), 1..=MAX_DOMAINS)?;
        if let Some(bad) = self.domains.iter().find(|domain| !is_host_name(domain)) {
            return Err(ValueError::new(format!(
                "acme.domains: {bad:?} is no host name; write it in ASCII and lower case, such as \
                 nucleus.example.com; wildcards and IP addresses are not possible"
            )));
        }
        let mut once: Vec<_> = self.domains.iter().collect();
        once.sort();
        if let Some(two) = once.windows(2).find(|two| two[0] == two[1]) {
            return Err(ValueError::new(format!("acme.domains names {} twice", two[0])));
        }
        if !self.directory.starts_with("https://") {
            let text = "acme.directory must be an https address";
            return Err(ValueError::new(text));
        }
        match &self.contact {
            Some(contact) if !contact.starts_with("mailto:") => {
                Err(ValueError::new("acme.contact must begin with mailto:"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a text is a host name that an authority can validate: letters, digits and hyphens in at least
/// two parts, of which the last one is no number.
fn is_host_name(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_DOMAIN
        && text.contains('.')
        && text.split('.').all(is_part)
        && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_checked() {
        for good in ["nucleus.example.com", "a.b", "xn--mnchen-3ya.de", "1.example.com", "a-b.c"] {
            assert!(is_host_name(good), "{good}");
        }
        let long = format!("{}.com", "a".repeat(64));
        for bad in [
            "",
            "localhost",
            "*.example.com",
            "192.0.2.1",
            "::1",
            "a..b",
            ".a.b",
            "a.b.",
            "-a.b",
            "a-.b",
            "A.b",
            "münchen.de",
            "a b.c",
            "a.b:443",
            &long,
        ] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
