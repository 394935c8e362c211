//! Grants: one per access token, so that it can be revoked.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use echo_shared::table::{Key, TableError};
use serde::{Deserialize, Serialize};

use super::{Expiring, Store, own_key};

/// The record of an access token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grant {
    /// The token's id.
    pub jti: String,
    /// Who it speaks for.
    pub sub: String,
    /// The client it was issued to.
    pub client_id: String,
    /// The session, for a person's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Whether it was taken back.
    pub revoked: bool,
    /// When the token has certainly expired, in seconds since 1970.
    pub expires_at: i64,
}

impl Expiring for Grant {
    fn expires_at(&self) -> i64 {
        self.expires_at
    }
}

fn key(jti: &str) -> Key {
    own_key("GRANT", jti)
}

impl Store {
    /// The write that records a grant.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn record_grant(&self, grant: &Grant) -> Result<TransactWriteItem, TableError> {
        self.table.put_new(&key(&grant.jti), grant)
    }

    /// The write that revokes a grant, and fails when there is none any more.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn revoke_grant(&self, jti: &str) -> Result<TransactWriteItem, TableError> {
        let values = [(":true", AttributeValue::Bool(true))];
        self.table.update(&key(jti), ("SET revoked = :true", "attribute_exists(pk)"), &values)
    }

    /// A grant that is neither revoked nor over.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn grant(&self, jti: &str) -> Result<Option<Grant>, TableError> {
        Ok(self.live::<Grant>(&key(jti)).await?.filter(|grant| !grant.revoked))
    }
}
