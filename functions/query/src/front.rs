//! What every route needs: who asks, and the head of their log.

use std::sync::Arc;

use echo_shared::audit::chunk::{Head, key};
use echo_shared::http::{Problem, authenticate};
use echo_shared::table::Key;
use echo_shared::token::{AccessClaims, KeySource};
use http::{HeaderMap, StatusCode};

use crate::App;
use crate::reading::Readings;
use crate::tiles::Tiles;

/// The function with what it remembers between requests.
pub(crate) struct Front<K> {
    /// What it works with.
    pub app: Arc<App<K>>,
    /// Readings that were reported.
    pub readings: Readings,
}

impl<K: KeySource> Front<K> {
    /// The caller, who may read the audit log of their org.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<AccessClaims, Problem> {
        authenticate(&self.app.verifier, headers, "audit.read").await
    }

    /// The caller, who may read the log lines of their org.
    pub(crate) async fn log_reader(&self, headers: &HeaderMap) -> Result<AccessClaims, Problem> {
        authenticate(&self.app.verifier, headers, "logs.read").await
    }

    /// The head of an org's log; 404 while the log has no entry.
    pub(crate) async fn head(&self, org: &str) -> Result<Head, Problem> {
        let head = self.app.heads.find(&Key::single("pk", &key::head(org))).await;
        let head: Option<Head> = head.map_err(|error| Problem::unavailable(&error))?;
        let no_log = || Problem::new(StatusCode::NOT_FOUND, "no-log", "the organisation's log has no entry yet");
        head.filter(|head| head.size > 0).ok_or_else(no_log)
    }

    /// The tiles under a head.
    pub(crate) fn tiles(&self, org: &str, head: &Head) -> Tiles {
        Tiles { table: self.app.log.clone(), org: org.to_owned(), size: head.size }
    }
}
