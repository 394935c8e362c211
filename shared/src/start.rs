//! The first thing every function does.

use crate::aws::Aws;
use crate::config::{ConfigError, Env};
use crate::telemetry;

/// Starts logging and reads the configuration. Everything that is missing or wrong is logged in one line, and the
/// function ends before it takes an event.
pub fn configure<T>(read: impl FnOnce(Env<'static>) -> Result<T, ConfigError>) -> Option<(T, Aws)> {
    telemetry::init(&Env::process());
    let config = ConfigError::join(read(Env::process()), Env::process().read(Aws::read));
    config.inspect_err(|error| tracing::error!(%error, "cannot start")).ok()
}
