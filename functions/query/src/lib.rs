//! The front door for readers: of the audit log (entries, proofs, exports), and of the log store (lines, traces,
//! counts).
//!
//! Invariants: the org is the token's, whatever a request says; no audit entry leaves before the queue has the event
//! that says who reads. What is served is what is stored: whoever doubts an audit entry verifies it against a
//! checkpoint, and a block of log lines is served only when its content is what its name says.

mod chunks;
mod error;
mod event;
mod export;
mod filter;
mod front;
mod json;
mod keys;
mod log;
mod logs;
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
use echo_shared::log::settings::Settings;
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
    /// The log store: lines of all orgs.
    pub log_store_table: String,
    /// What each org wants of it.
    pub settings: Settings,
    /// Where readings are reported.
    pub queue_urls: BTreeMap<Queue, String>,
}

impl Config {
    /// Reads `ECHO_ISSUER`, `AUDIT_LOG_TABLE`, `AUDIT_HEAD_TABLE`, `LOG_STORE_TABLE`, `AUDIT_QUEUE_URL` and, when it
    /// is set, `LOG_SETTINGS`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self {
            issuer: env.issuer(),
            audit_log_table: env.text("AUDIT_LOG_TABLE"),
            audit_head_table: env.text("AUDIT_HEAD_TABLE"),
            log_store_table: env.text("LOG_STORE_TABLE"),
            settings: Settings::read(env),
            queue_urls: Publisher::queue_urls(env, [Queue::Audit]),
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
    /// The log store: lines of all orgs.
    pub log_store: Table,
    /// What each org wants of it.
    pub settings: Settings,
    /// Where readings are reported.
    pub publisher: Publisher,
    /// The time of readings, and until when lines are looked for.
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
        .route("/audit/v1/proofs/consistency", get(proof::get_consistency::<K>))
        .route("/logs/v1/query", get(logs::get_query::<K>))
        .route("/logs/v1/traces/{id}", get(logs::get_trace::<K>))
        .route("/logs/v1/stats", get(logs::get_stats::<K>));
    door.guard(routes.with_state(Arc::new(Front { app, readings: Readings::default() })))
}
