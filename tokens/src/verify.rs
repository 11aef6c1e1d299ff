//! Verifies a join token: first its keys are found, then the signature is checked, then the claims.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, crypto};
use nucleus_core::ids::Product;
use nucleus_core::{limits, text};
use serde_json::Value;

use super::claims::{self, MAX_SHORT, RawClaims};
use super::issuers::IssuerKeys;
use super::key::{TokenKeyError, VerificationKey};
use super::mint::MINTED_KEY_ID;
use super::settings::{DevelopmentKey, ReadKeyFile, TokenSettings};
use super::{TokenError, VerifiedToken};

/// Most keys that one token is checked against. Each takes up to 0.1 ms, and anybody may send a token.
const MAX_TRIES: usize = 4;

/// What a [`TokenVerifier`] is made of.
pub struct VerifierSettings<'a> {
    /// `[tokens]`; `None`: development mode.
    pub tokens: Option<&'a TokenSettings>,
    /// The data directory's key.
    pub development: DevelopmentKey<'a>,
    /// Whether tokens that the API has minted are accepted beside those of `[tokens]`.
    pub minted: bool,
    /// The server's products.
    pub products: Vec<Product>,
    /// The keys of tenants' issuers, which change.
    pub issuers: Arc<ArcSwap<IssuerKeys>>,
    /// How a key file is read.
    pub read: ReadKeyFile,
}

/// Verifies join tokens with the keys and the audience of this server.
pub struct TokenVerifier {
    /// The key for all tenants: that of `[tokens]`, or of the data directory.
    own: RwLock<Arc<VerificationKey>>,
    /// The data directory's key, for tokens that the API has minted; `None`: they are refused.
    minted: Option<VerificationKey>,
    issuers: Arc<ArcSwap<IssuerKeys>>,
    audience: String,
    server_id: String,
    products: Vec<Product>,
    /// `None`: development mode.
    settings: Option<TokenSettings>,
    read: ReadKeyFile,
}

impl TokenVerifier {
    /// Makes a verifier with the key of `[tokens]`; without it, with the development key.
    ///
    /// # Errors
    ///
    /// The key cannot be read, is of another kind, or is weak.
    pub fn new(settings: VerifierSettings<'_>) -> Result<Self, TokenKeyError> {
        let VerifierSettings { tokens, development, minted, products, issuers, read } = settings;
        let server_id = development.server_id.to_owned();
        let data_key = VerificationKey::development(&development)?;
        let own = match tokens {
            Some(tokens) => VerificationKey::configured(tokens, read)?,
            None => data_key.clone(),
        };
        Ok(Self {
            own: RwLock::new(Arc::new(own)),
            minted: minted.then_some(data_key),
            issuers,
            audience: tokens
                .and_then(|tokens| tokens.audience.clone())
                .unwrap_or(server_id.clone()),
            server_id,
            products,
            settings: tokens.cloned(),
            read,
        })
    }

    /// Reads the key of `[tokens]` again. Returns whether there is one; the development key never
    /// changes.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new). The key stays as it was.
    pub fn reload(&self) -> Result<bool, TokenKeyError> {
        let Some(settings) = &self.settings else { return Ok(false) };
        let key = VerificationKey::configured(settings, self.read)?;
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        Ok(true)
    }

    /// Returns whether the key comes from a file of the operator.
    pub fn has_key_file(&self) -> bool {
        self.settings.is_some()
    }

    fn own(&self) -> Arc<VerificationKey> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifies `token` at `now_unix`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The token is malformed, its signature is wrong, or a claim is missing or invalid.
    pub fn verify(&self, token: &str, now_unix: u64) -> Result<VerifiedToken, TokenError> {
        let token = SplitToken::read(token)?;
        let own = self.own();
        let issuers = self.issuers.load();
        let tenant = token.tenant();
        let kid = token.kid.as_deref();
        let of_issuers = tenant.iter().flat_map(|tenant| issuers.named(tenant, kid));
        let of_issuers =
            of_issuers.map(|key| (&key.key, key.audience.as_deref().unwrap_or(&self.audience)));
        // A minted token names its key, so that no other token is taken for one.
        let minted = self.minted.as_ref().filter(|_| kid == Some(MINTED_KEY_ID));
        let minted = minted.map(|key| (key, self.server_id.as_str()));
        let for_all = minted.into_iter().chain([(&*own, self.audience.as_str())]);
        let mut keys = for_all
            .chain(of_issuers)
            .filter(|(key, _)| token.algorithm == Some(key.algorithm))
            .take(MAX_TRIES)
            .peekable();
        let has_key = keys.peek().is_some();
        let mut is_for_another = false;
        for (key, audience) in keys {
            if token.is_signed_by(key)? {
                match claims::verify_claims(&token.claims, audience, &self.products, now_unix) {
                    // Another issuer of the tenant may have the same key and this audience.
                    Err(TokenError::WrongAudience) => is_for_another = true,
                    verified => return verified,
                }
            }
        }
        match tenant {
            _ if is_for_another => Err(TokenError::WrongAudience),
            Some(tenant) if issuers.may_be_new(&tenant, kid) => Err(TokenError::UnknownKey),
            _ if has_key => Err(TokenError::BadSignature),
            _ => Err(TokenError::WrongAlgorithm),
        }
    }

    /// Returns the tenant that a token names, for whom its key is looked for. Nothing of the token is
    /// verified.
    pub fn claimed_tenant(&self, token: &str) -> Option<String> {
        SplitToken::read(token).ok()?.tenant()
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = self.own().algorithm;
        f.debug_struct("TokenVerifier").field("algorithm", &algorithm).finish_non_exhaustive()
    }
}

/// A token whose parts are decoded, and none is verified.
pub(super) struct SplitToken<'a> {
    signed: &'a str,
    signature: &'a str,
    /// The algorithm that the header names; `None`: one that no key has.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) kid: Option<String>,
    pub(super) claims: RawClaims,
}

impl<'a> SplitToken<'a> {
    fn read(token: &'a str) -> Result<Self, TokenError> {
        Self::read_within(token, limits::TOKEN_BYTES)
    }

    /// Reads a token of at most `most` bytes.
    pub(super) fn read_within(token: &'a str, most: usize) -> Result<Self, TokenError> {
        if token.len() > most {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header = object(header)?;
        // Critical extensions, of which this server knows none (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return Err(TokenError::Malformed);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(TokenError::Malformed),
        };
        let claims = object(payload)?;
        Ok(Self { signed, signature, algorithm: algorithm.parse().ok(), kid, claims })
    }

    /// Returns the tenant, in the form in which the verified claims have it.
    fn tenant(&self) -> Option<String> {
        let tenant = self.claims.get("tenant")?.as_str()?;
        text::plain(tenant.as_bytes(), 1, MAX_SHORT).ok()
    }

    /// Verifies the signature alone, because the library's checks of claims read the clock.
    pub(super) fn is_signed_by(&self, key: &VerificationKey) -> Result<bool, TokenError> {
        crypto::verify(self.signature, self.signed.as_bytes(), &key.decoding, key.algorithm)
            .map_err(|_| TokenError::Malformed)
    }
}

/// Decodes a part of a token: a JSON object, base64url.
fn object(encoded: &str) -> Result<RawClaims, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}
