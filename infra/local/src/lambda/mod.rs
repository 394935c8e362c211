//! Lambda on a laptop: something that runs functions.

pub mod runtime;
mod runtime_api;
pub mod watch;

use std::future::Future;

use axum::body::Bytes;

pub use runtime::Runtime;
pub use watch::Watch;

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

impl InvokeError {
    /// Reads the error object that the Runtime API carries.
    fn from_body(body: &[u8]) -> Self {
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |name: &str| json.get(name).and_then(|value| value.as_str()).unwrap_or("unknown").to_owned();
        Self::Function { kind: member("errorType"), message: member("errorMessage") }
    }
}

/// The two ways to run functions: one to develop with, one to test and measure with.
#[derive(Clone)]
pub enum Lambda {
    /// `cargo lambda watch`: hot reload.
    Watch(Watch),
    /// Prebuilt binaries under Echo's own Runtime API.
    Runtime(Runtime),
}

impl Lambda {
    /// Where functions are invoked, as Lambda's API is: for `cargo lambda invoke` and any SDK.
    pub fn endpoint(&self) -> String {
        match self {
            Self::Watch(watch) => watch.endpoint().to_owned(),
            Self::Runtime(runtime) => runtime.endpoint(),
        }
    }
}

impl Invoke for Lambda {
    async fn invoke(&self, function: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        match self {
            Self::Watch(watch) => watch.invoke(function, payload).await,
            Self::Runtime(runtime) => runtime.invoke(function, payload).await,
        }
    }
}
