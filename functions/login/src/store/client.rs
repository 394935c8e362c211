//! OAuth clients.

use echo_shared::table::{Key, TableError};
use serde::{Deserialize, Serialize};

use super::{Store, own_key};

/// A client that the operator registered. Cannot be printed: it holds the secret's hash.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Client {
    /// The `client_id`.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// The tenant.
    pub org: String,
    /// Where codes may be sent.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Where people may be sent after signing out.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    /// `authorization_code`, `client_credentials`.
    #[serde(default)]
    pub grants: Vec<String>,
    /// What tokens for this client may be good for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The resources besides Echo itself that its own tokens may be for (RFC 8707).
    #[serde(default)]
    pub resources: Vec<String>,
    /// SHA-256 of the secret in base64url; a public client has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_sha256: Option<String>,
}

impl Client {
    /// Whether the client may use a grant.
    pub fn may(&self, grant: &str) -> bool {
        self.grants.iter().any(|known| known == grant)
    }

    /// Where a client is stored.
    pub fn key(id: &str) -> Key {
        own_key("CLIENT", id)
    }
}

impl Store {
    /// A client by id.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn client(&self, id: &str) -> Result<Option<Client>, TableError> {
        // DynamoDB refuses longer partition keys; no client has one.
        if id.len() > 256 {
            return Ok(None);
        }
        self.table.find(&Client::key(id)).await
    }
}
