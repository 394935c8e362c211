//! People, and the index that finds them by e-mail.

use aws_sdk_dynamodb::types::AttributeValue;
use echo_shared::table::{Key, TableError};
use serde::{Deserialize, Serialize};

use super::{Store, own_key};

/// A person. Cannot be printed: it holds the password's hash.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct User {
    /// The subject of the person's tokens.
    pub id: String,
    /// The address to sign in with, as the person writes it.
    pub email: String,
    /// Whether the address was proven to be theirs.
    #[serde(default)]
    pub email_verified: bool,
    /// The name to show.
    pub name: String,
    /// A PHC string.
    pub password_hash: String,
    /// The tenant.
    pub org: String,
    /// `admin`, `member`.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// The item that leads from an address to its owner.
#[derive(Serialize, Deserialize)]
pub struct EmailIndex {
    /// Whose it is.
    pub user_id: String,
}

impl User {
    /// Whether the person is an admin of the org.
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == "admin")
    }

    /// The item that leads from the address to this person.
    pub fn email_index(&self) -> EmailIndex {
        EmailIndex { user_id: self.id.clone() }
    }
}

/// Where a person is stored.
pub fn user_key(id: &str) -> Key {
    own_key("USER", id)
}

/// Where an address is stored: case does not count.
pub fn email_key(email: &str) -> Key {
    own_key("EMAIL", &email.to_lowercase())
}

impl Store {
    /// A person by id.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn user(&self, id: &str) -> Result<Option<User>, TableError> {
        self.table.find(&user_key(id)).await
    }

    /// A person by address; takes two reads whether or not there is one, so that time tells nothing.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>, TableError> {
        let index: Option<EmailIndex> = self.table.find(&email_key(email)).await?;
        // No user has an empty id.
        self.user(index.as_ref().map_or("", |index| &index.user_id)).await
    }

    /// Replaces the password's hash, unless it has changed meanwhile.
    ///
    /// # Errors
    /// [`TableError::Condition`] when it has.
    pub async fn replace_password_hash(&self, user: &User, new: String) -> Result<(), TableError> {
        let values = [(":new", AttributeValue::S(new)), (":old", AttributeValue::S(user.password_hash.clone()))];
        let change = ("SET password_hash = :new", "password_hash = :old");
        self.table.transact(vec![self.table.update(&user_key(&user.id), change, &values)?]).await
    }
}
