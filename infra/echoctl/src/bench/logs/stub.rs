//! A queue that accepts everything at once and keeps nothing.

use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Failure;

/// A batch holds 1 MiB of text; written as JSON it is larger.
const LARGEST_REQUEST: usize = 8 * 1_048_576;

/// The SDK for Rust does not compare the checksum of a body, so none is computed: this is that of no body.
const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// A running queue. Dropping it ends it.
pub struct Stub {
    endpoint: String,
    _server: JoinSet<()>,
}

impl Stub {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let app = Router::new().route("/", post(accept)).layer(DefaultBodyLimit::max(LARGEST_REQUEST));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { endpoint, _server: server })
    }

    /// Its URL, for any AWS SDK.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// `SendMessageBatch`, of which only the ids are of interest.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Entries")]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Id")]
    id: String,
}

async fn accept(body: Bytes) -> Result<impl IntoResponse, StatusCode> {
    let batch: Batch = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(Json(answer(&batch)))
}

fn answer(batch: &Batch) -> Value {
    let taken = |entry: &Entry| json!({ "Id": entry.id, "MessageId": entry.id, "MD5OfMessageBody": MD5 });
    json!({ "Successful": batch.entries.iter().map(taken).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
    use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

    use super::Stub;

    #[tokio::test]
    async fn an_sdk_finds_all_its_messages_accepted() {
        let stub = Stub::start().await.unwrap();
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
            .endpoint_url(stub.endpoint())
            .build();
        let entry = |id: &str| SendMessageBatchRequestEntry::builder().id(id).message_body("x".repeat(60_000)).build();
        let entries = ["0", "1"].map(|id| entry(id).unwrap());
        let request = aws_sdk_sqs::Client::from_conf(config).send_message_batch().queue_url("http://x/log");
        let answer = request.set_entries(Some(entries.into())).send().await.unwrap();
        assert_eq!((answer.successful().len(), answer.failed().len()), (2, 0));
    }
}
