//! The signing keys: made on first use, cached, opened with the master key.

use std::collections::HashMap;
use std::sync::Arc;

use echo_shared::table::TableError;
use echo_shared::telemetry::hex;
use echo_shared::token::{KeySource, KeysUnavailable, SignError, SigningKey};
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::store::{SealedKey, Store};
use echo_shared::seal::{MasterKey, SealError};

/// Seconds for which keys are not read again.
const FRESH: i64 = 300;
/// Seconds between two reads for the sake of an unknown `kid`.
const UNKNOWN_KEY_INTERVAL: i64 = 60;

/// The keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A key could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key is damaged, or could not be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The key that another instance made is not there.
    #[error("there is no signing key")]
    None,
}

/// The issuer's own keys. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    store: Store,
    master_key: MasterKey,
    cache: Mutex<Option<Arc<KeySet>>>,
}

/// The keys at one moment.
pub struct KeySet {
    signing: SigningKey,
    public: Vec<Value>,
    decoding: HashMap<String, Arc<DecodingKey>>,
    read_at: i64,
}

impl KeySet {
    /// The key to sign with: the newest.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The public halves as a JSON Web Key Set (RFC 7517).
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.public })
    }
}

impl Keys {
    /// The keys in `store`, opened with `master_key`; nothing is read yet.
    pub fn new(store: Store, master_key: MasterKey) -> Self {
        Self(Arc::new(Inner { store, master_key, cache: Mutex::default() }))
    }

    /// The keys as they are now.
    ///
    /// # Errors
    /// When they cannot be read or opened, and none are known.
    pub async fn current(&self) -> Result<Arc<KeySet>, KeyError> {
        self.not_older_than(FRESH).await
    }

    async fn not_older_than(&self, seconds: i64) -> Result<Arc<KeySet>, KeyError> {
        // Held across the read: requests that come meanwhile wait for its result instead of reading too.
        let mut cache = self.0.cache.lock().await;
        let now = self.0.store.now();
        if let Some(known) = cache.as_ref().filter(|known| now - known.read_at < seconds) {
            return Ok(Arc::clone(known));
        }
        match (self.read(now).await, cache.as_ref()) {
            (Ok(set), _) => Ok(Arc::clone(cache.insert(Arc::new(set)))),
            (Err(error), Some(known)) => {
                tracing::warn!(%error, "the signing keys cannot be read again; those that are known serve on");
                Ok(Arc::clone(known))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn read(&self, now: i64) -> Result<KeySet, KeyError> {
        let mut sealed = self.0.store.sealed_keys().await?;
        if sealed.is_empty() {
            self.make_first(now).await?;
            sealed = self.0.store.sealed_keys().await?;
        }
        let open = |key: &SealedKey| -> Result<SigningKey, KeyError> {
            let pkcs8 = self.0.master_key.open(&key.kid, &key.sealed)?;
            Ok(SigningKey::from_pkcs8(&key.kid, &pkcs8)?)
        };
        let mut keys = sealed.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let public = keys.iter().map(SigningKey::jwk).collect();
        let decoding = keys.iter().map(|key| Ok((key.kid().to_owned(), Arc::new(key.decoding_key()?))));
        let decoding = decoding.collect::<Result<_, SignError>>()?;
        Ok(KeySet { signing: keys.pop().ok_or(KeyError::None)?, public, decoding, read_at: now })
    }

    async fn make_first(&self, now: i64) -> Result<(), KeyError> {
        let Inner { store, master_key, .. } = &*self.0;
        let pkcs8 = SigningKey::generate()?;
        let kid = hex(&store.entropy().bytes::<8>());
        let sealed = master_key.seal(store.entropy(), &kid, &pkcs8)?;
        match store.put_first_key(&SealedKey { kid, sealed, created_at: now }).await {
            // Another instance was faster: its key is ours too.
            Ok(()) | Err(TableError::Condition) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl KeySource for Keys {
    async fn key(&self, kid: &str) -> Result<Option<Arc<DecodingKey>>, KeysUnavailable> {
        let unavailable = |error: KeyError| KeysUnavailable(error.to_string());
        let known = self.current().await.map_err(unavailable)?;
        if let Some(key) = known.decoding.get(kid) {
            return Ok(Some(Arc::clone(key)));
        }
        let read_again = self.not_older_than(UNKNOWN_KEY_INTERVAL).await.map_err(unavailable)?;
        Ok(read_again.decoding.get(kid).map(Arc::clone))
    }
}
