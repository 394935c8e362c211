//! The peer: graphile-worker on PostgreSQL.

use std::path::Path;
use std::time::Duration;

use crate::Failure;

/// What the peer did.
pub struct Peer {
    /// Name and version.
    pub name: String,
    /// Messages a second.
    pub per_s: f64,
}

/// Runs the peer.
///
/// # Errors
/// When it cannot be started.
pub async fn run(root: &Path, directory: &Path, time: Duration) -> Result<Peer, Failure> {
    let _ = (root, directory, time);
    Err("not yet".into())
}
