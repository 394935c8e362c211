//! Lambda's Runtime API and its Invoke, as an HTTP server on loopback.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>,
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>. Each instance has a path of its own, so that a
//! process that dies takes only its own invocation along.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::InvokeError;
use super::runtime::{Handed, Inner};
use crate::template::{ACCOUNT, REGION};

/// Lambda answers with at most 6 MB.
const MAX_ANSWER: usize = 6 * 1024 * 1024 + 1024;

pub(super) async fn serve(listener: TcpListener, runtime: Arc<Inner>, mut stopped: watch::Receiver<bool>) {
    let routes = Router::new()
        .route("/{function}/{instance}/2018-06-01/runtime/invocation/next", get(next))
        .route("/{function}/{instance}/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/{function}/{instance}/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/{function}/{instance}/2018-06-01/runtime/init/error", post(init_error))
        .route("/2015-03-31/functions/{function}/invocations", post(invoke))
        .layer(DefaultBodyLimit::max(MAX_ANSWER))
        .with_state(runtime);
    let until = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(until).await {
        tracing::error!(%error, "the Runtime API stopped");
    }
}

/// For people and tools (`cargo lambda invoke`, any SDK): synchronous only.
async fn invoke(State(runtime): State<Arc<Inner>>, Path(function): Path<String>, payload: Bytes) -> Response {
    match runtime.invoke(&function, payload).await {
        Ok(answer) => answer.into_response(),
        Err(error @ InvokeError::Unavailable(_)) => (StatusCode::NOT_FOUND, error.to_string()).into_response(),
        Err(error) => {
            let (kind, message) = match error {
                InvokeError::Function { kind, message } => (kind, message),
                other => ("Unhandled".into(), other.to_string()),
            };
            let body = json!({"errorType": kind, "errorMessage": message}).to_string();
            ([("x-amz-function-error", "Unhandled")], body).into_response()
        }
    }
}

async fn next(State(runtime): State<Arc<Inner>>, Path((function, instance)): Path<(String, u64)>) -> Response {
    let Some(Handed { id, payload, deadline }) = runtime.next(&function, instance).await else {
        return StatusCode::GONE.into_response();
    };
    let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}");
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", (deadline.unix_timestamp_nanos() / 1_000_000).to_string()),
        ("lambda-runtime-invoked-function-arn", arn),
        ("content-type", "application/json".into()),
    ];
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            map.insert(name, value);
        }
    }
    (map, payload).into_response()
}

async fn response(
    State(runtime): State<Arc<Inner>>,
    Path((function, instance, id)): Path<(String, u64, String)>,
    body: Bytes,
) -> StatusCode {
    runtime.answer(&function, instance, &id, Ok(body));
    StatusCode::ACCEPTED
}

async fn error(
    State(runtime): State<Arc<Inner>>,
    Path((function, instance, id)): Path<(String, u64, String)>,
    body: Bytes,
) -> StatusCode {
    runtime.answer(&function, instance, &id, Err(InvokeError::from_body(&body)));
    StatusCode::ACCEPTED
}

async fn init_error(Path((function, _)): Path<(String, u64)>, body: Bytes) -> StatusCode {
    tracing::error!(function, error = %InvokeError::from_body(&body), "init failed");
    StatusCode::ACCEPTED
}
