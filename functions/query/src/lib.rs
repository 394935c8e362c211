//! The front door for readers of the audit log: entries, proofs, exports.
//!
//! Invariants: the org is the token's, whatever a request says; no entry leaves before the queue has the event that
//! says who reads. What is served is what is stored: whoever doubts it verifies it against a checkpoint.

mod chunks;
mod error;
mod event;
mod export;
mod filter;
mod front;
mod json;
mod keys;
mod log;
mod params;
mod path;
mod proof;
mod reading;
mod search;
mod store;
mod tiles;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use echo_shared::clock::Clock;
use echo_shared::config::{Env, Issuer};
use echo_shared::entropy::Entropy;
use echo_shared::event::Queue;
use echo_shared::http::Door;
use echo_shared::queue::Publisher;
use echo_shared::table::Table;
use echo_shared::token::{KeySource, Verifier};

use front::Front;
use reading::Readings;

/// What the environment has to say.
pub struct Config {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// The audit logs: entries and tiles.
    pub audit_log_table: String,
    /// Their heads, and the keys that sign them.
    pub audit_head_table: String,
    /// Where readings are reported.
    pub queue_urls: BTreeMap<Queue, String>,
}

impl Config {
    /// Reads `ECHO_ISSUER`, `AUDIT_LOG_TABLE`, `AUDIT_HEAD_TABLE` and `AUDIT_QUEUE_URL`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self {
            issuer: env.issuer(),
            audit_log_table: env.text("AUDIT_LOG_TABLE"),
            audit_head_table: env.text("AUDIT_HEAD_TABLE"),
            queue_urls: Publisher::queue_urls(env),
        }
    }
}

/// What the function works with.
pub struct App<K> {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// Checks the callers' tokens.
    pub verifier: Verifier<K>,
    /// The audit logs: entries and tiles.
    pub log: Table,
    /// Their heads, and the keys that sign them.
    pub heads: Table,
    /// Where readings are reported.
    pub publisher: Publisher,
    /// The time of readings.
    pub clock: Clock,
    /// Request and trace ids.
    pub entropy: Entropy,
}

/// The function's routes.
pub fn router<K: KeySource + 'static>(app: Arc<App<K>>) -> Router {
    let door = Door { entropy: app.entropy.clone(), https: app.issuer.is_https() };
    let routes = Router::new()
        .route("/audit/v1/events", get(search::get_events::<K>))
        .route("/audit/v1/events/{id}", get(event::get_event::<K>))
        .route("/audit/v1/export", get(export::get_export::<K>))
        .route("/audit/v1/keys", get(keys::get_keys::<K>))
        .route("/audit/v1/log/{org}/checkpoint", get(log::get_checkpoint::<K>))
        .route("/audit/v1/log/{org}/tile/{*rest}", get(log::get_tile::<K>))
        .route("/audit/v1/log/{org}/entries/{*rest}", get(log::get_entries::<K>))
        .route("/audit/v1/proofs/inclusion", get(proof::get_inclusion::<K>))
        .route("/audit/v1/proofs/consistency", get(proof::get_consistency::<K>));
    door.guard(routes.with_state(Arc::new(Front { app, readings: Readings::default() })))
}
