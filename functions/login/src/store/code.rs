//! Authorization codes.
//!
//! Invariant: `redeemed_by` is written once. The item outlives the code, so that a replay is noticed as long as the
//! token that the code gave may be alive.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use echo_shared::secret::Secret;
use echo_shared::table::{Key, TableError};
use serde::{Deserialize, Serialize};

use super::{Expiring, Store, own_key};
use crate::TOKEN_SECONDS;
use crate::digest::sha256;

/// How long a code can be redeemed, in seconds (RFC 9700 recommends at most 60).
const CODE_SECONDS: i64 = 60;

/// A code's item; the code itself is not stored, its hash is the key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Code {
    /// What the code is bound to.
    #[serde(flatten)]
    pub bound: NewCode,
    /// Until when it can be redeemed, in seconds since 1970.
    pub valid_until: i64,
    /// When the item may go, in seconds since 1970.
    pub expires_at: i64,
    /// The `jti` of the token that it was redeemed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeemed_by: Option<String>,
}

/// What a code is bound to.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewCode {
    /// Who may redeem it.
    pub client_id: String,
    /// Where it was sent.
    pub redirect_uri: String,
    /// The PKCE challenge, S256.
    pub challenge: String,
    /// The session it was given for.
    pub sid: String,
    /// For the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The scopes that were given, separated by spaces.
    pub scope: String,
}

impl Expiring for Code {
    fn expires_at(&self) -> i64 {
        self.expires_at
    }
}

fn key(code: &str) -> Key {
    own_key("CODE", &sha256(code))
}

impl Store {
    /// Makes a code.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn new_code(&self, bound: NewCode) -> Result<Secret, TableError> {
        let (code, valid_until) = (Secret::new(self.entropy.token()), self.now() + CODE_SECONDS);
        let item = Code { bound, valid_until, expires_at: valid_until + 2 * TOKEN_SECONDS, redeemed_by: None };
        self.table.transact(vec![self.table.put_new(&key(code.expose()), &item)?]).await?;
        Ok(code)
    }

    /// What is known about a code, also when it cannot be redeemed any more.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn code(&self, code: &str) -> Result<Option<Code>, TableError> {
        self.live(&key(code)).await
    }

    /// The write that redeems a code for the token `jti`, and fails when it was redeemed before.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn redeem_code(&self, code: &str, jti: &str) -> Result<TransactWriteItem, TableError> {
        let condition = "attribute_exists(pk) AND attribute_not_exists(redeemed_by)";
        let values = [(":jti", AttributeValue::S(jti.into()))];
        self.table.update(&key(code), ("SET redeemed_by = :jti", condition), &values)
    }
}
