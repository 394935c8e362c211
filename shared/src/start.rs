//! The first thing every function does.

use crate::config::{ConfigError, Env};
use crate::telemetry;

/// Starts logging and reads the configuration. What is wrong with it is logged, and the function ends before it takes
/// an event.
pub fn configure<T>(read: impl FnOnce(Env<'static>) -> Result<T, ConfigError>) -> Option<T> {
    telemetry::init(&Env::process());
    read(Env::process()).inspect_err(|error| tracing::error!(%error, "cannot start")).ok()
}
