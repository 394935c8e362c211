//! Signing keys, their private half sealed.

use echo_shared::table::{Key, TableError};
use serde::{Deserialize, Serialize};

use super::Store;

const PARTITION: &str = "KEYS";
/// The sort key of the first key. That it is fixed makes instances that start together end with one key.
const FIRST_SLOT: &str = "0001";

/// A signing key at rest.
#[derive(Clone, Serialize, Deserialize)]
pub struct SealedKey {
    /// The key's id.
    pub kid: String,
    /// The private key (PKCS #8), sealed under the master key for this `kid`.
    pub sealed: String,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// All keys, oldest first.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn sealed_keys(&self) -> Result<Vec<SealedKey>, TableError> {
        self.table.partition(PARTITION).await
    }

    /// Stores the first key, unless there is one.
    ///
    /// # Errors
    /// [`TableError::Condition`] when there is one.
    pub async fn put_first_key(&self, key: &SealedKey) -> Result<(), TableError> {
        self.table.transact(vec![self.table.put_new(&Key::new(PARTITION, FIRST_SLOT), key)?]).await
    }
}
