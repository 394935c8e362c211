//! The front door for readers: `GET /audit/v1/events`.

mod filter;
mod store;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use echo_shared::config::{Env, Issuer};
use echo_shared::entropy::Entropy;
use echo_shared::http::{Cursor, Door, PageQuery, Problem, authenticate};
use echo_shared::table::Table;
use echo_shared::token::{KeySource, Verifier};
use http::HeaderMap;
use serde_json::{Value, json};

pub use filter::{Filter, FilterQuery};
pub use store::{Listing, list};

/// What the environment has to say.
pub struct Config {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// The audit log.
    pub audit_log_table: String,
}

impl Config {
    /// Reads `ECHO_ISSUER` and `AUDIT_LOG_TABLE`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self { issuer: env.issuer(), audit_log_table: env.text("AUDIT_LOG_TABLE") }
    }
}

/// What the function works with.
pub struct App<K> {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// Checks the callers' tokens.
    pub verifier: Verifier<K>,
    /// The audit log.
    pub log: Table,
    /// Request and trace ids.
    pub entropy: Entropy,
}

/// The function's routes.
pub fn router<K: KeySource + 'static>(app: Arc<App<K>>) -> Router {
    let door = Door { entropy: app.entropy.clone(), https: app.issuer.is_https() };
    door.guard(Router::new().route("/audit/v1/events", get(get_events::<K>)).with_state(app))
}

async fn get_events<K: KeySource>(
    State(app): State<Arc<App<K>>>,
    headers: HeaderMap,
    Query(filter): Query<FilterQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = authenticate(&app.verifier, &headers, "audit.read").await?;
    let filter = filter.parse()?;
    let cursor = page.cursor()?;
    if let Some(Cursor(sort_key)) = &cursor {
        filter.check_cursor(sort_key)?;
    }
    // The org is the token's: a cursor of another org's list leads nowhere else.
    let listing = list(&app.log, &caller.org, &filter, page.limit()?, cursor)
        .await
        .map_err(|error| Problem::unavailable(&error))?;
    Ok(Json(json!({ "items": listing.entries, "next": listing.next.as_ref().map(Cursor::encode) })))
}
