//! `cargo lambda watch` on an inner port: functions are rebuilt and restarted as their source changes.
//!
//! It starts a function at its first invocation and works on one invocation at a time. What it answers differs from
//! Lambda: a function error is HTTP 500, and an init error is HTTP 200 with an error object.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::net::{TcpListener, TcpStream};

use super::{Invoke, InvokeError};
use crate::process::{Child, Listener, Spec, StartError};

/// A rebuild may stand between an invocation and its answer.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A running `cargo lambda watch`.
#[derive(Clone)]
pub struct Watch {
    base: String,
    http: reqwest::Client,
    child: Arc<Child>,
}

/// `cargo lambda watch` could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No port could be had.
    #[error("cannot listen on loopback: {0}")]
    Listen(#[from] std::io::Error),
    /// The program could not be started.
    #[error("{0}; ./scripts/setup installs cargo-lambda")]
    Start(#[from] StartError),
    /// The program ended at once.
    #[error("cargo lambda watch ended: {0}")]
    Ended(String),
}

impl Watch {
    /// Starts it for the workspace at `root`; `listener` is told every line of its output: cargo's and the functions'.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it listens.
    pub async fn start(
        root: &Path,
        program: &Path,
        env_file: &Path,
        log: &Path,
        listener: Option<Listener>,
    ) -> Result<Self, WatchError> {
        // Given back at once and taken by the child: nothing else asks for ports in between.
        let port = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?.port();
        let mut args: Vec<String> =
            ["lambda", "watch", "--invoke-address", "127.0.0.1", "--disable-cors"].map(Into::into).into();
        args.extend(["--invoke-port".into(), port.to_string()]);
        args.extend(["--env-file".into(), env_file.display().to_string()]);
        let spec = Spec {
            name: "cargo lambda watch".into(),
            program: program.into(),
            args,
            // The functions inherit it: cargo's own lines are told from theirs, which are JSON.
            env: BTreeMap::from([("AWS_LAMBDA_LOG_FORMAT".into(), "JSON".into())]),
            directory: Some(root.into()),
            log: log.into(),
            listener,
        };
        let child = Arc::new(Child::start(&spec).await?);
        loop {
            tokio::select! {
                _ = child.wait() => return Err(WatchError::Ended(child.last_lines())),
                connected = TcpStream::connect(("127.0.0.1", port)) => {
                    if connected.is_ok() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        Ok(Self { base: format!("http://127.0.0.1:{port}"), http: reqwest::Client::new(), child })
    }

    /// Where functions are invoked, as Lambda's API is.
    pub fn endpoint(&self) -> &str {
        &self.base
    }

    /// The process.
    pub fn child(&self) -> &Arc<Child> {
        &self.child
    }
}

impl Invoke for Watch {
    async fn invoke(&self, function: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.base);
        let unavailable = |error: reqwest::Error| match error.is_timeout() {
            true => InvokeError::Timeout,
            false => InvokeError::Unavailable(error.to_string()),
        };
        let request = self.http.post(url).timeout(TIMEOUT).body(payload);
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unavailable)?;
        if !status.is_success() || is_error(&body) {
            return Err(InvokeError::from_body(&body));
        }
        Ok(body)
    }
}

fn is_error(body: &[u8]) -> bool {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    json.get("errorType").is_some() && json.get("errorMessage").is_some()
}
