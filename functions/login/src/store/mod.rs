//! The `login` table: one file per entity.
//!
//! An item whose `expires_at` has come counts as absent, whether or not DynamoDB has removed it yet.

mod client;
mod code;
mod grant;
mod key;
mod session;
mod user;

use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::table::{Key, Table, TableError};
use serde::de::DeserializeOwned;

pub use client::Client;
pub use code::{Code, NewCode};
pub use grant::Grant;
pub use key::SealedKey;
pub use session::Session;
pub use user::{User, email_key, user_key};

/// The `login` table with the clock that expires its items and the randomness for new ones.
#[derive(Clone)]
pub struct Store {
    table: Table,
    clock: Clock,
    entropy: Entropy,
}

/// An item that does not live for ever.
trait Expiring {
    /// When it ends, in seconds since 1970.
    fn expires_at(&self) -> i64;
}

impl Store {
    /// A store over the `login` table, wherever its DynamoDB is.
    pub fn new(table: Table, clock: Clock, entropy: Entropy) -> Self {
        Self { table, clock, entropy }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The present, in seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.clock.unix()
    }

    async fn live<T: DeserializeOwned + Expiring>(&self, key: &Key) -> Result<Option<T>, TableError> {
        let found: Option<T> = self.table.find(key).await?;
        Ok(found.filter(|item| item.expires_at() > self.now()))
    }
}

/// The key of an item that has its partition to itself: `KIND#id`, `KIND`.
pub(crate) fn own_key(kind: &str, id: &str) -> Key {
    Key::new(format!("{kind}#{id}"), kind)
}

/// The key that makes a subject unique among people and clients: `sub` must not mean two things.
pub fn subject_key(id: &str) -> Key {
    own_key("SUBJECT", id)
}
