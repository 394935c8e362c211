//! SQS's JSON protocol (AWS JSON 1.0) on loopback, over [`Queues`]. Any AWS SDK or command line works against it.
//!
//! Signatures are not checked: only this machine reaches the port, and its credentials are made up.

mod actions;
mod batch;
mod error;
mod wire;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::queue::Queues;
pub use actions::AGE_OF_OLDEST;
pub(crate) use actions::attributes;
use error::ApiError;

/// A batch holds 1 MiB of text; written as JSON a character may take six bytes.
const LARGEST_REQUEST: usize = 8 * 1_048_576;
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

#[derive(Clone)]
struct Sqs {
    queues: Queues,
    base_url: String,
    shutdown: watch::Receiver<bool>,
}

/// Serves `queues` until `shutdown` turns true; long polls then end early. A queue's URL is `base_url`, a slash and its
/// name.
pub async fn serve(listener: TcpListener, queues: Queues, base_url: String, mut shutdown: watch::Receiver<bool>) {
    let sqs = Sqs { queues, base_url, shutdown: shutdown.clone() };
    let app = Router::new().fallback(answer).layer(DefaultBodyLimit::max(LARGEST_REQUEST)).with_state(sqs);
    let stop = async move {
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the SQS endpoint ended");
    }
}

async fn answer(State(sqs): State<Sqs>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let result = match body {
        Ok(body) => sqs.act(target.strip_prefix("AmazonSQS.").unwrap_or_default(), &body).await,
        Err(rejection) => Err(ApiError::body(rejection)),
    };
    let mut response = match result {
        Ok(answer) => answer.to_string().into_response(),
        Err(error) => error.into_response(),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}

impl Sqs {
    async fn act(&self, action: &str, body: &[u8]) -> Result<Value, ApiError> {
        match action {
            "SendMessage" => self.send_message(wire::read(body)?).await,
            "SendMessageBatch" => self.send_message_batch(wire::read(body)?).await,
            "ReceiveMessage" => self.receive_message(wire::read(body)?).await,
            "DeleteMessage" => self.delete_message(wire::read(body)?).await,
            "DeleteMessageBatch" => self.delete_message_batch(wire::read(body)?).await,
            "ChangeMessageVisibility" => self.change_message_visibility(wire::read(body)?).await,
            "ChangeMessageVisibilityBatch" => self.change_message_visibility_batch(wire::read(body)?).await,
            "GetQueueUrl" => self.get_queue_url(&wire::read(body)?),
            "GetQueueAttributes" => self.get_queue_attributes(wire::read(body)?).await,
            "ListQueues" => Ok(self.list_queues(&wire::read(body)?)),
            "PurgeQueue" => self.purge_queue(wire::read(body)?).await,
            "" => Err(ApiError::unknown_protocol()),
            other => Err(ApiError::not_offered(other)),
        }
    }
}
