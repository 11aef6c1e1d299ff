//! Single sign-on with OpenID Connect: the authorisation code flow of OAuth 2 with PKCE (RFC 7636). What is
//! sent and what is taken stands here; the requests are made elsewhere.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{PersonRole, SecretText, new_secret};
use crate::id::NoRandomness;
use crate::timestamp::Timestamp;

/// How long a person may take at the provider, in microseconds: ten minutes.
const FLOW_TIME: i64 = 600_000_000;
/// What a server asks the provider for.
const SCOPE: &str = "openid email profile";

/// The provider of single sign-on, and who may come from there.
#[derive(Clone, Debug)]
pub struct SingleSignOn {
    /// The provider's address, which its tokens name as `iss`.
    pub issuer: String,
    /// The id by which the provider knows this server.
    pub client_id: String,
    /// The secret that the provider has given with it; `None`: there is none.
    pub client_secret: Option<SecretText>,
    /// The provider's name, for people.
    pub label: String,
    /// Who may come.
    pub domains: Vec<SignOnDomain>,
}

/// The people of an email domain. Whoever signs in for the first time becomes a person with this role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOnDomain {
    /// What stands behind the `@`.
    pub domain: String,
    /// The role.
    pub role: PersonRole,
    /// The tenant's name; absent: the whole server.
    #[serde(default)]
    pub tenant: Option<String>,
}

impl SingleSignOn {
    /// Returns what is set for the domain of an email address, in lower case.
    pub fn domain_of(&self, email: &str) -> Option<&SignOnDomain> {
        let (_, domain) = email.rsplit_once('@')?;
        self.domains.iter().find(|rule| rule.domain.eq_ignore_ascii_case(domain))
    }

    /// Returns the address at which the provider describes itself.
    pub fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'))
    }
}

/// What a provider says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ProviderAddresses {
    issuer: String,
    authorization_endpoint: String,
    /// Where a code becomes a token.
    pub token_endpoint: String,
    /// Where the provider publishes its keys.
    pub jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl ProviderAddresses {
    /// Reads what a provider says of itself. `None`: it is not this provider, or an address would be used in
    /// the clear although the provider's own is not.
    pub fn read(body: &[u8], provider: &SingleSignOn) -> Option<Self> {
        let read: Self = serde_json::from_slice(body).ok()?;
        let is_safe = |url: &String| {
            url.starts_with("https://")
                || (provider.issuer.starts_with("http://") && url.starts_with("http://"))
        };
        let urls = [&read.authorization_endpoint, &read.token_endpoint, &read.jwks_uri];
        let is_plain = |url: &String| url.bytes().all(|byte| byte.is_ascii_graphic());
        let is_usable = urls.into_iter().all(|url| is_safe(url) && is_plain(url));
        (read.issuer == provider.issuer && is_usable).then_some(read)
    }

    /// Returns where a browser is sent.
    pub fn authorization(&self, provider: &SingleSignOn, flow: &SignOnFlow, back: &str) -> String {
        let digest = digest::digest(&digest::SHA256, flow.verifier.as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(digest);
        let query = [
            ("response_type", "code"),
            ("client_id", provider.client_id.as_str()),
            ("redirect_uri", back),
            ("scope", SCOPE),
            ("state", flow.state.as_str()),
            ("nonce", flow.nonce.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let sign = if self.authorization_endpoint.contains('?') { '&' } else { '?' };
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        format!("{}{sign}{query}", self.authorization_endpoint)
    }

    /// Returns the body of the request that makes a token of a code, and its header `authorization`.
    pub fn token_request(
        &self,
        provider: &SingleSignOn,
        flow: &SignOnFlow,
        back: &str,
        code: &str,
    ) -> (String, Option<String>) {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", back),
            ("client_id", provider.client_id.as_str()),
            ("code_verifier", flow.verifier.as_str()),
        ];
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        // Without the list, the provider takes a header (OpenID Connect Discovery, 3).
        let takes = |name: &str| methods.is_some_and(|list| list.iter().any(|one| one == name));
        let in_body = takes("client_secret_post") && !takes("client_secret_basic");
        let mut header = None;
        if let Some(secret) = &provider.client_secret {
            if in_body {
                form.push(("client_secret", &**secret));
            } else {
                let pair = format!("{}:{}", encoded(&provider.client_id), encoded(secret));
                header = Some(format!("Basic {}", STANDARD.encode(pair)));
            }
        }
        (serde_urlencoded::to_string(form).unwrap_or_default(), header)
    }
}

/// Writes a text as forms have it (RFC 6749, 2.3.1).
fn encoded(text: &str) -> String {
    let pair = serde_urlencoded::to_string([("", text)]).unwrap_or_default();
    pair.strip_prefix('=').unwrap_or_default().to_owned()
}

/// What a browser takes to the provider and back, sealed in a cookie.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOnFlow {
    /// Shows that the browser that comes back is the one that was sent.
    pub state: String,
    /// Shows that the token is of this flow.
    pub nonce: String,
    /// Shows the provider that who has the code is who was sent.
    verifier: String,
    /// The path to which the browser goes on.
    pub next: String,
    /// When the flow ends, in microseconds since 1970.
    ends_at: i64,
}

/// Never shows a secret.
impl std::fmt::Debug for SignOnFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignOnFlow").field("next", &self.next).finish_non_exhaustive()
    }
}

impl SignOnFlow {
    /// Begins a flow.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`]
    pub fn begin(next: &str, now: Timestamp) -> Result<Self, NoRandomness> {
        Ok(Self {
            state: new_secret()?.0,
            nonce: new_secret()?.0,
            verifier: new_secret()?.0,
            next: next.to_owned(),
            ends_at: now.micros().saturating_add(FLOW_TIME),
        })
    }

    /// Whether a browser that comes back at `now` with this state is the one that was sent.
    pub fn is_answered_by(&self, state: &str, now: Timestamp) -> bool {
        self.state == state && now.micros() < self.ends_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> SingleSignOn {
        SingleSignOn {
            issuer: "https://login.example.com".to_owned(),
            client_id: "nuc leus".to_owned(),
            client_secret: serde_json::from_str("\"a secret&\"").ok(),
            label: "Example".to_owned(),
            domains: vec![SignOnDomain {
                domain: "Example.com".to_owned(),
                role: PersonRole::Viewer,
                tenant: None,
            }],
        }
    }

    fn document(issuer: &str, token: &str, methods: &str) -> String {
        format!(
            r#"{{"issuer":"{issuer}","authorization_endpoint":"https://a/auth?x=1","token_endpoint":"{token}",
            "jwks_uri":"https://a/keys","token_endpoint_auth_methods_supported":{methods}}}"#
        )
    }

    #[test]
    fn only_the_provider_itself_is_taken() {
        let read = |text: String| ProviderAddresses::read(text.as_bytes(), &provider());
        let own = "https://login.example.com";
        assert!(read(document(own, "https://a/token", "null")).is_some());
        assert!(read(document("https://evil.example", "https://a/token", "null")).is_none());
        assert!(read(document(own, "http://a/token", "null")).is_none(), "in the clear");
        assert!(read("{}".to_owned()).is_none());
    }

    /// The verifier and its challenge are those of RFC 7636, appendix B.
    #[test]
    fn a_browser_takes_the_challenge_and_the_server_keeps_the_verifier() {
        let document = document("https://login.example.com", "https://a/token", "null");
        let addresses = ProviderAddresses::read(document.as_bytes(), &provider()).unwrap();
        let now = Timestamp::from_seconds(1_800_000_000);
        let mut flow = SignOnFlow::begin("/rooms", now).unwrap();
        flow.verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let sent = addresses.authorization(&provider(), &flow, "https://n/signin/oidc/return");
        assert!(
            sent.starts_with("https://a/auth?x=1&response_type=code&client_id=nuc+leus&"),
            "{sent}"
        );
        assert!(
            sent.contains("code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&"),
            "{sent}"
        );
        assert!(!sent.contains(&flow.verifier));
        assert!(flow.is_answered_by(&flow.state, now) && !flow.is_answered_by("", now));
        let late = Timestamp::from_micros(now.micros() + FLOW_TIME);
        assert!(!flow.is_answered_by(&flow.state, late));
    }

    #[test]
    fn the_secret_goes_where_the_provider_takes_it() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let flow = SignOnFlow::begin("/", now).unwrap();
        for (methods, in_body) in [
            ("null", false),
            (r#"["client_secret_basic","client_secret_post"]"#, false),
            (r#"["client_secret_post"]"#, true),
        ] {
            let document = document("https://login.example.com", "https://a/token", methods);
            let addresses = ProviderAddresses::read(document.as_bytes(), &provider()).unwrap();
            let (body, header) = addresses.token_request(&provider(), &flow, "https://n/r", "c&d");
            assert!(body.contains("code=c%26d&") && body.contains("code_verifier="), "{body}");
            assert_eq!(body.contains("client_secret=a+secret%26"), in_body, "{methods}");
            // "nuc+leus:a+secret%26"
            let basic = "Basic bnVjK2xldXM6YStzZWNyZXQlMjY=".to_owned();
            assert_eq!(header, (!in_body).then_some(basic), "{methods}");
        }
    }

    #[test]
    fn domains_are_compared_as_a_whole() {
        assert!(provider().domain_of("ada@example.com").is_some());
        for other in ["ada@sub.example.com", "ada@example.com.evil", "example.com", ""] {
            assert!(provider().domain_of(other).is_none(), "{other}");
        }
    }
}
