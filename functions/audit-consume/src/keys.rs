//! The key that signs checkpoints: made on first use, sealed in `audit_head`. Another number is another key; the old
//! ones stay where they are.

use std::sync::Arc;

use aws_sdk_dynamodb::operation::execute_transaction::ExecuteTransactionError;
use echo_shared::audit::chunk::{StoredKey, key};
use echo_shared::audit::note::{NoteError, Signer};
use echo_shared::clock::{Clock, sortable};
use echo_shared::entropy::Entropy;
use echo_shared::seal::{MasterKey, SealError};
use echo_shared::table::{Key, Table, TableError, unavailable};
use tokio::sync::Mutex;

use crate::append::code;
use crate::statement::insert_key;

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It is damaged, or could not be made.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Keys are numbered without a gap, so that all of them are found.
    #[error("AUDIT_KEY is {0}, and there is no key before it; give the next number")]
    Skipped(u64),
    /// It was just inserted, and is not there.
    #[error("the key that signs checkpoints is gone")]
    Gone,
}

/// The key of one number, read once.
pub struct Keys {
    master_key: MasterKey,
    number: u64,
    signer: Mutex<Option<Arc<Signer>>>,
}

impl Keys {
    /// The key `number`, sealed with `master_key`; nothing is read yet.
    pub fn new(master_key: MasterKey, number: u64) -> Self {
        Self { master_key, number, signer: Mutex::default() }
    }

    /// The key, made now when it is not there.
    ///
    /// # Errors
    /// When it cannot be read, made or opened.
    pub async fn signer(&self, heads: &Table, clock: &Clock, entropy: &Entropy) -> Result<Arc<Signer>, KeyError> {
        let mut signer = self.signer.lock().await;
        if let Some(known) = signer.as_ref() {
            return Ok(Arc::clone(known));
        }
        let name = key::signing_key(self.number);
        let place = Key::single("pk", &name);
        let mut stored: Option<StoredKey> = heads.find(&place).await?;
        if stored.is_none() {
            let before = Key::single("pk", &key::signing_key(self.number.saturating_sub(1)));
            if self.number > 1 && heads.find::<StoredKey>(&before).await?.is_none() {
                return Err(KeyError::Skipped(self.number));
            }
            self.make(&name, heads, clock, entropy).await?;
            stored = heads.find(&place).await?;
        }
        let stored = stored.ok_or(KeyError::Gone)?;
        let opened = Signer::from_pkcs8(&self.master_key.open(&name, &stored.sealed)?)?;
        Ok(Arc::clone(signer.insert(Arc::new(opened))))
    }

    async fn make(&self, name: &str, heads: &Table, clock: &Clock, entropy: &Entropy) -> Result<(), KeyError> {
        let pkcs8 = Signer::generate()?;
        let public = Signer::from_pkcs8(&pkcs8)?.public();
        let sealed = self.master_key.seal(entropy, name, &pkcs8)?;
        let (client, table) = heads.raw();
        let key = StoredKey {
            number: self.number,
            public: public.to_vec().into(),
            sealed,
            created_at: sortable(clock.now()),
        };
        let statements = vec![insert_key(table, name, &key)?];
        match client.execute_transaction().set_transact_statements(Some(statements)).send().await {
            Ok(_) => Ok(()),
            // Another instance was faster: its key is ours too.
            Err(error) if error.as_service_error().is_some_and(is_there) => Ok(()),
            Err(error) => Err(unavailable(error).into()),
        }
    }
}

fn is_there(error: &ExecuteTransactionError) -> bool {
    let ExecuteTransactionError::TransactionCanceledException(cancelled) = error else { return false };
    cancelled.cancellation_reasons().first().map(code) == Some("DuplicateItem")
}
