//! One order at an authority: the account, the validation of each name, the certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType, Error,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::challenges::AcmeChallenges;
use super::http_client::AcmeHttp;
use super::{ACCOUNT_FILE, AcmeError};
use crate::start::config::AcmeSettings;
use crate::{bounded_file, private_file};

/// Longest wait for the validations of an order, and for its certificate.
const STEP_TIME: Duration = Duration::from_secs(120);
/// Largest file of an account, in bytes.
const ACCOUNT_BYTES: u64 = 16 << 10;
/// The error of an authority that does not know the account any more (RFC 8555, 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// The file of an account.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    /// The directory of the authority that knows the account.
    directory: String,
    /// Whom the authority may write to.
    contact: Option<String>,
    /// The account's id and private key.
    credentials: AccountCredentials,
}

/// What an order needs.
pub(super) struct Orders {
    pub(super) settings: AcmeSettings,
    /// The data directory.
    pub(super) dir: std::path::PathBuf,
    /// The roots of the authority's certificate.
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// The key of the external account, if the settings name one.
    pub(super) external_key: Option<Zeroizing<Vec<u8>>>,
    pub(super) challenges: Arc<AcmeChallenges>,
}

impl Orders {
    /// Orders a certificate with a new private key. Returns both, PEM.
    ///
    /// # Errors
    ///
    /// The authority cannot be reached, refuses the order, or could not validate a name.
    pub(super) async fn order(&self) -> Result<Zeroizing<String>, AcmeError> {
        let names: Vec<_> =
            self.settings.domains.iter().map(|name| Identifier::Dns(name.clone())).collect();
        let wanted = NewOrder::new(&names);
        let mut order = match self.account().await?.new_order(&wanted).await {
            Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
                tracing::warn!("the authority does not know the account any more: makes a new one");
                self.new_account().await?.new_order(&wanted).await?
            }
            order => order?,
        };
        self.validate(&mut order).await?;
        let key = Zeroizing::new(order.finalize().await?);
        let chain = order.poll_certificate(&patience()).await?;
        Ok(Zeroizing::new(format!("{}{chain}", *key)))
    }

    /// Proves that this server answers for all names of the order.
    async fn validate(&self, order: &mut Order) -> Result<(), AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                // From an earlier order.
                AuthorizationStatus::Valid => continue,
                status => return Err(AcmeError::Order(format!("an authorization is {status:?}"))),
            }
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(AcmeError::Order("the authority offers no TLS-ALPN-01".to_owned()));
            };
            let name = challenge.identifier().to_string();
            self.challenges.put(&name, challenge.key_authorization().digest().as_ref())?;
            challenge.set_ready().await?;
        }
        match order.poll_ready(&patience()).await {
            Ok(OrderStatus::Ready) => Ok(()),
            // Each name has its own reason.
            Ok(_) | Err(Error::Api(_)) => Err(AcmeError::Order(refusals(order).await?)),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the account of the settings, a new one if there is none yet.
    async fn account(&self) -> Result<Account, AcmeError> {
        let AcmeSettings { directory, contact, .. } = &self.settings;
        let path = self.dir.join(ACCOUNT_FILE);
        // Twice, because the library takes the one and gives none back.
        let read = blocking(move || Ok((read(&path)?, read(&path)?))).await?;
        let (Some(kept), Some(again)) = read else { return self.new_account().await };
        if kept.directory != *directory {
            return self.new_account().await;
        }
        let account = self.builder().from_credentials(kept.credentials).await?;
        if kept.contact != *contact {
            account.update_contacts(&self.contacts()).await?;
            self.keep(again.credentials).await?;
        }
        Ok(account)
    }

    async fn new_account(&self) -> Result<Account, AcmeError> {
        let external = self.settings.external_account.as_ref().zip(self.external_key.as_ref());
        let external = external.map(|(it, key)| ExternalAccountKey::new(it.key_id.clone(), key));
        let contact = self.contacts();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = self.settings.directory.clone();
        let (account, credentials) =
            self.builder().create(&wanted, directory, external.as_ref()).await?;
        self.keep(credentials).await?;
        tracing::info!(directory = %self.settings.directory, "has an account at the authority");
        Ok(account)
    }

    fn builder(&self) -> AccountBuilder {
        Account::builder_with_http(Box::new(AcmeHttp { tls: self.tls.clone() }))
    }

    fn contacts(&self) -> Vec<&str> {
        self.settings.contact.as_deref().into_iter().collect()
    }

    async fn keep(&self, credentials: AccountCredentials) -> Result<(), AcmeError> {
        let AcmeSettings { directory, contact, .. } = self.settings.clone();
        let kept = KeptAccount { directory, contact, credentials };
        let bytes = Zeroizing::new(serde_json::to_vec_pretty(&kept).unwrap_or_default());
        let dir = self.dir.clone();
        blocking(move || {
            let failed = |source| AcmeError::File { path: dir.join(ACCOUNT_FILE), source };
            private_file::replace(&dir, ACCOUNT_FILE, &bytes).map_err(failed)
        })
        .await
    }
}

/// Runs what waits for the disk. A blocked disk must not block a thread of sessions.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, AcmeError> + Send + 'static,
) -> Result<T, AcmeError> {
    let ran = tokio::task::spawn_blocking(run).await;
    // Fails only if the runtime is ending.
    ran.unwrap_or_else(|error| Err(AcmeError::Order(error.to_string())))
}

/// Reads the file of an account; `None`: there is none, or it is damaged.
fn read(path: &Path) -> Result<Option<KeptAccount>, AcmeError> {
    match bounded_file::read(path, ACCOUNT_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AcmeError::File { path: path.to_owned(), source }),
        Ok(bytes) => {
            let kept = serde_json::from_slice(&bytes);
            if kept.is_err() {
                tracing::warn!("{} is damaged: makes a new account", path.display());
            }
            Ok(kept.ok())
        }
    }
}

fn patience() -> RetryPolicy {
    RetryPolicy::new().timeout(STEP_TIME)
}

/// Returns why the authority could not validate the names of an order.
async fn refusals(order: &mut Order) -> Result<String, AcmeError> {
    let mut why = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let state = authorization.refresh().await?;
        let name = state.identifier().to_string();
        let errors = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        why.extend(errors.map(|error| format!("{name}: {error}")));
    }
    Ok(format!("the authority could not validate: {}", why.join("; ")))
}
