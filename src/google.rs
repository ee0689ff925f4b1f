//! Who asks Google's services: one source for BigQuery and Cloud Storage, with one cache of tokens.

use crate::error::{Error, Kind, Result};
use async_trait::async_trait;
use google_cloud_auth::credentials::{AccessTokenCredentials, Builder, Credentials, anonymous};
use object_store::CredentialProvider;
use object_store::gcp::{GcpCredential, GcpCredentialProvider};
use std::sync::{Arc, OnceLock};

/// Somebody whom Google's services know, or nobody. Cheap to clone; prints nothing of what it holds.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `None`: nobody.
    tokens: Option<AccessTokenCredentials>,
}

impl Identity {
    /// Nobody: for emulators and for what is public.
    pub fn anonymous() -> Identity {
        Identity { tokens: None }
    }

    /// The Application Default Credentials of this process, of whatever kind they are: a user's, a service account's,
    /// impersonated, federated, or those of the machine.
    /// <https://docs.cloud.google.com/docs/authentication/application-default-credentials>
    ///
    /// # Errors
    /// Refused, when they are there and can't be read.
    pub fn from_environment() -> Result<Identity> {
        static FOUND: OnceLock<Identity> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let tokens = Builder::default().build_access_token_credentials().map_err(|error| {
            Error::new(Kind::Refused, "read the credentials for Google Cloud")
                .because(error)
                .hint("run `gcloud auth application-default login`, or name a file in GOOGLE_APPLICATION_CREDENTIALS")
        })?;
        Ok(FOUND.get_or_init(|| Identity { tokens: Some(tokens) }).clone())
    }

    /// As BigQuery's client wants it.
    pub fn credentials(&self) -> Credentials {
        match &self.tokens {
            Some(tokens) => tokens.clone().into(),
            None => anonymous::Builder::new().build(),
        }
    }

    /// As a store of Cloud Storage wants it.
    pub fn for_storage(&self) -> GcpCredentialProvider {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl CredentialProvider for Identity {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let Some(tokens) = &self.tokens else { return Ok(Arc::new(GcpCredential { bearer: String::new() })) };
        match tokens.access_token().await {
            Ok(token) => Ok(Arc::new(GcpCredential { bearer: token.token })),
            Err(error) if error.is_transient() => {
                Err(object_store::Error::Generic { store: "Cloud Storage", source: Box::new(error) })
            }
            Err(error) => Err(object_store::Error::Unauthenticated {
                path: "Google's token service".into(),
                source: Box::new(error),
            }),
        }
    }
}
