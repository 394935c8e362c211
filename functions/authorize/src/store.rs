//! Policy versions in the `policy` table: immutable, numbered, one of them active.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use echo_shared::clock::Clock;
use echo_shared::table::{Key, Table, TableError};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::engine::{Source, SourceError, Version};

/// Seconds after which the active version is looked up again: the bound on how late a new version takes effect.
const MAX_AGE: i64 = 2;
/// Orgs whose compiled policies are kept in memory.
const MAX_CACHED: usize = 100;

/// The `policy` table.
pub struct PolicyStore {
    table: Table,
    clock: Clock,
    cache: Mutex<HashMap<String, Cached>>,
}

struct Cached {
    version: Arc<Version>,
    number: u64,
    checked: i64,
}

#[derive(Serialize, Deserialize)]
struct Active {
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    /// [`Source`] as JSON.
    source: String,
}

/// Why there are no policies to ask.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The org has no active version, or it is not there.
    #[error("org `{0}` has no active policy version")]
    Missing(String),
    /// The version cannot be compiled.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The stored form cannot be read.
    #[error("stored policies: {0}")]
    Stored(#[from] serde_json::Error),
}

impl PolicyStore {
    /// A store over its table.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock, cache: Mutex::default() }
    }

    /// The active version of an org, at most two seconds old.
    ///
    /// # Errors
    /// When it cannot be had; there is no stale answer.
    pub async fn active(&self, org: &str) -> Result<Arc<Version>, PolicyError> {
        let now = self.clock.unix();
        let mut cache = self.cache.lock().await;
        if let Some(cached) = cache.get(org).filter(|cached| (0..MAX_AGE).contains(&(now - cached.checked))) {
            return Ok(Arc::clone(&cached.version));
        }
        let number = self.active_number(org).await?.ok_or_else(|| PolicyError::Missing(org.into()))?;
        let version = match cache.get(org).filter(|cached| cached.number == number) {
            Some(cached) => Arc::clone(&cached.version),
            None => Arc::new(Version::compile(number, &self.source(org, number).await?)?),
        };
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(org.into(), Cached { version: Arc::clone(&version), number, checked: now });
        Ok(version)
    }

    /// Reads what is never there: the connection stays.
    pub async fn warm_up(&self) {
        if let Err(error) = self.active_number("").await {
            tracing::warn!(%error, "the policies' table cannot be reached yet; the first decision tries again");
        }
    }

    /// Makes `source` the active version of an org, unless it is already; returns its number.
    ///
    /// # Errors
    /// When the policies do not validate, or somebody else published at the same time.
    pub async fn publish(&self, org: &str, source: &Source) -> Result<u64, PolicyError> {
        let active = self.active_number(org).await?;
        if let Some(number) = active
            && self.source(org, number).await? == *source
        {
            return Ok(number);
        }
        let number = active.unwrap_or_default() + 1;
        Version::compile(number, source)?;
        let stored = Stored { source: serde_json::to_string(source)? };
        let pointer = match active {
            None => self.table.put_new(&active_key(org), &Active { version: number })?,
            Some(before) => self.table.update(
                &active_key(org),
                ("SET version = :new", "version = :before"),
                &[(":new", AttributeValue::N(number.to_string())), (":before", AttributeValue::N(before.to_string()))],
            )?,
        };
        self.table.transact(vec![self.table.put_new(&version_key(org, number), &stored)?, pointer]).await?;
        Ok(number)
    }

    async fn active_number(&self, org: &str) -> Result<Option<u64>, PolicyError> {
        Ok(self.table.find::<Active>(&active_key(org)).await?.map(|active| active.version))
    }

    async fn source(&self, org: &str, number: u64) -> Result<Source, PolicyError> {
        let stored = self.table.find::<Stored>(&version_key(org, number)).await?;
        let stored = stored.ok_or_else(|| PolicyError::Missing(org.into()))?;
        Ok(serde_json::from_str(&stored.source)?)
    }
}

fn active_key(org: &str) -> Key {
    Key::new(format!("STORE#{org}"), "ACTIVE")
}

fn version_key(org: &str, number: u64) -> Key {
    Key::new(format!("STORE#{org}"), format!("VERSION#{number:010}"))
}
