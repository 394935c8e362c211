//! Lambda on a laptop: something that runs functions.

use std::future::Future;

use axum::body::Bytes;

/// Runs a function once and waits for its answer.
pub trait Invoke: Clone + Send + Sync + 'static {
    /// Invokes `function` with a JSON `payload` and returns its JSON answer.
    ///
    /// # Errors
    /// When the function failed, or could not be run at all.
    fn invoke(&self, function: &str, payload: Bytes) -> impl Future<Output = Result<Bytes, InvokeError>> + Send;
}

/// Why an invocation gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The function answered with an error.
    #[error("function error {kind}: {message}")]
    Function {
        /// The error's type, as the function named it.
        kind: String,
        /// The error's message.
        message: String,
    },
    /// The function took longer than its timeout.
    #[error("timed out")]
    Timeout,
    /// The function's process ended.
    #[error("the process ended: {0}")]
    Crashed(String),
    /// Too many requests in flight.
    #[error("too many requests in flight")]
    Throttled,
    /// There is no such function, or it cannot be started.
    #[error("cannot run: {0}")]
    Unavailable(String),
}
