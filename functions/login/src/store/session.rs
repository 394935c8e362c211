//! Sessions: one sign-in of one person in one browser.

use aws_sdk_dynamodb::types::TransactWriteItem;
use echo_shared::secret::Secret;
use echo_shared::table::{Key, TableError};
use echo_shared::telemetry::hex;
use serde::{Deserialize, Serialize};

use super::{Expiring, Store, User, own_key};
use crate::SESSION_SECONDS;
use crate::digest::sha256;

/// A session. Its id is public (`sid`); only the cookie has the secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// `sid`: 128 random bits, hexadecimal.
    pub id: String,
    /// SHA-256 of the cookie's secret, in base64url.
    pub secret_sha256: String,
    /// Who signed in.
    pub user_id: String,
    /// The tenant.
    pub org: String,
    /// When the person proved who they are, in seconds since 1970.
    pub auth_time: i64,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
}

impl Expiring for Session {
    fn expires_at(&self) -> i64 {
        self.expires_at
    }
}

fn key(id: &str) -> Key {
    own_key("SESSION", id)
}

impl Store {
    /// A new session of `user`, not stored yet, and the cookie's secret.
    pub fn new_session(&self, user: &User) -> (Session, Secret) {
        let (now, secret) = (self.now(), Secret::new(self.entropy.token()));
        let session = Session {
            id: hex(&self.entropy.bytes::<16>()),
            secret_sha256: sha256(secret.expose()),
            user_id: user.id.clone(),
            org: user.org.clone(),
            auth_time: now,
            created_at: now,
            expires_at: now + SESSION_SECONDS,
        };
        (session, secret)
    }

    /// The write that starts a session.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn start_session(&self, session: &Session) -> Result<TransactWriteItem, TableError> {
        self.table.put_new(&key(&session.id), session)
    }

    /// The write that ends a session, and fails when it has ended.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn end_session(&self, id: &str) -> Result<TransactWriteItem, TableError> {
        self.table.delete_existing(&key(id))
    }

    /// A session that is alive.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, TableError> {
        self.live(&key(id)).await
    }
}
