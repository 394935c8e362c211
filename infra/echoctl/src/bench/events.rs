//! Events as AWS hands them to functions, and what their answers have to be.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::body::{Bytes, to_bytes};
use axum::response::Response;
use echo_local::gateway::payload::{self, Incoming};
use echo_shared::clock::{Clock, sortable};
use echo_shared::config::Issuer;
use echo_shared::entropy::Entropy;
use echo_shared::event::{Envelope, log};
use echo_shared::log::block::Block;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{Request, StatusCode};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{Failure, seed};

/// Records in a batch: as many as one request to SQS receives.
const BATCH: usize = 10;
/// Days that log lines are kept.
const DAYS: u32 = 30;
const FORM: &str = "application/x-www-form-urlencoded";

/// Makes events for one stack.
pub struct Events {
    /// The issuer, and every request's host.
    pub issuer: Issuer,
    /// Ids and secrets.
    pub entropy: Entropy,
    clock: Clock,
}

impl Events {
    /// Events for the stack of `issuer`.
    pub fn new(issuer: Issuer, clock: Clock, entropy: Entropy) -> Self {
        Self { issuer, entropy, clock }
    }

    /// The event that `function` does its ordinary work for; `token` is the demo service's.
    ///
    /// # Errors
    /// When nothing is known that would make the function work.
    pub fn useful(&self, function: &str, token: &str) -> Result<Bytes, Failure> {
        match function {
            "login" => self.client_credentials(),
            "authorize" => {
                self.post("/authorize", token, &json!({"action": "read", "resource": {"type": "Document", "id": "d1"}}))
            }
            "ingest" => self.post("/events", token, &self.reported()),
            "query" => self.get("/audit/v1/events?limit=20", Some(token)),
            "audit-consume" => Ok(batch(&self.audit_events(BATCH))),
            "log-consume" => Ok(batch(&self.log_events(BATCH)?)),
            "relay" => Ok(json_bytes(&json!({"version": "0", "detail-type": "Scheduled Event", "detail": {}}))),
            super::lab::FLOOR => self.get("/", None),
            other => Err(format!("bench knows no event for the function `{other}`; add one to events.rs").into()),
        }
    }

    /// The demo service asks for a token of its own.
    ///
    /// # Errors
    /// Never for these constants.
    pub fn client_credentials(&self) -> Result<Bytes, Failure> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", seed::SERVICE_ID),
            ("client_secret", seed::SERVICE_SECRET),
        ];
        self.form("/oauth2/token", &form, &[])
    }

    /// A form that a browser or an application sends.
    ///
    /// # Errors
    /// When `path` is none.
    pub fn form(&self, path: &str, form: &[(&str, &str)], cookies: &[String]) -> Result<Bytes, Failure> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = with_cookies(Request::post(path), cookies).header(CONTENT_TYPE, FORM);
        self.http(request, Bytes::from(body))
    }

    /// A page that a browser opens.
    ///
    /// # Errors
    /// When `path` is none.
    pub fn page(&self, path: &str, cookies: &[String]) -> Result<Bytes, Failure> {
        self.http(with_cookies(Request::get(path), cookies), Bytes::new())
    }

    /// A GET, with a token or without.
    ///
    /// # Errors
    /// When `path` is none.
    pub fn get(&self, path: &str, token: Option<&str>) -> Result<Bytes, Failure> {
        let request = Request::get(path);
        let request = match token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        self.http(request, Bytes::new())
    }

    /// Bodies as they come out of the queue `audit`, all different.
    pub fn audit_events(&self, count: usize) -> Vec<String> {
        let event = |_| {
            let mut event = self.reported();
            if let Value::Object(event) = &mut event {
                let source = format!("/clients/{}", seed::SERVICE_ID);
                let added = [("source", source), ("org", "demo".into()), ("time", sortable(self.clock.now()))];
                event.extend(added.map(|(name, value)| (name.to_owned(), json!(value))));
            }
            event.to_string()
        };
        (0..count).map(event).collect()
    }

    /// Log lines as an exporter sends them: `body` is of `content_type`, in gzip or not.
    ///
    /// # Errors
    /// Never for good media types.
    pub fn logs(&self, token: &str, content_type: &str, gzip: bool, body: Bytes) -> Result<Bytes, Failure> {
        let request = Request::post("/v1/logs").header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(CONTENT_TYPE, content_type);
        self.http(if gzip { request.header(CONTENT_ENCODING, "gzip") } else { request }, body)
    }

    /// A block of log lines as ingest puts it into the queue `log`.
    pub fn log_event(&self, block: &Block) -> String {
        let event = Envelope {
            specversion: "1.0".into(),
            id: block.id.to_string(),
            source: format!("/clients/{}", seed::SERVICE_ID),
            event_type: log::TYPE.into(),
            time: self.clock.now(),
            subject: None,
            org: "demo".into(),
            traceparent: None,
            datacontenttype: "application/json".into(),
            data: log::Packed::new(block, DAYS).to_data(),
        };
        event.to_body()
    }

    /// So many of them, all different, each with one line.
    fn log_events(&self, count: usize) -> Result<Vec<String>, Failure> {
        let event = |number: usize| -> Result<String, Failure> {
            // A first byte of its own: as many postings every time.
            let [_, rest @ ..] = self.entropy.bytes::<16>();
            let record = LogRecord {
                time_unix_nano: u64::try_from(self.clock.now().unix_timestamp_nanos())?,
                trace_id: [&[u8::try_from(number % 256)?][..], &rest].concat(),
                ..Default::default()
            };
            let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
            let logs = LogsData { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
            Ok(self.log_event(&Block::pack(&logs.encode_to_vec())?))
        };
        (0..count).map(event).collect()
    }

    fn reported(&self) -> Value {
        json!({
            "specversion": "1.0", "id": self.entropy.uuid_v7(self.clock.now()).to_string(), "type": "audit",
            "data": {
                "actor": {"type": "User", "id": "u1"}, "action": "document.read", "outcome": "success",
                "resource": {"type": "Document", "id": "d1"},
            },
        })
    }

    fn post(&self, path: &str, token: &str, body: &Value) -> Result<Bytes, Failure> {
        let request = Request::post(path).header(AUTHORIZATION, format!("Bearer {token}"));
        self.http(request.header(CONTENT_TYPE, "application/json"), json_bytes(body))
    }

    fn http(&self, request: Builder, body: Bytes) -> Result<Bytes, Failure> {
        let host = self.issuer.as_str().rsplit('/').next().unwrap_or_default();
        let (parts, ()) = request.header(HOST, host).body(())?.into_parts();
        let id = self.entropy.uuid_v7(self.clock.now()).to_string();
        let incoming = Incoming {
            parts: &parts,
            body: &body,
            // From the range for documentation (RFC 5737).
            peer: SocketAddr::from(([203, 0, 113, 7], 443)),
            id: &id,
            route_key: &format!("{} {}", parts.method, parts.uri.path()),
        };
        Ok(incoming.event(BTreeMap::new(), self.clock.now()))
    }
}

/// One delivery from SQS.
pub fn batch(bodies: &[String]) -> Bytes {
    let record = |(number, body): (usize, &String)| {
        json!({
            "messageId": number.to_string(), "receiptHandle": "handle", "body": body, "messageAttributes": {},
            "attributes": {"ApproximateReceiveCount": "1"}, "md5OfBody": "", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:echo-audit", "awsRegion": "us-east-1",
        })
    };
    json_bytes(&json!({"Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>()}))
}

/// Holds an answer against what the function answers when it has done its work.
///
/// # Errors
/// When it has not.
pub fn check(function: &str, answer: &Bytes) -> Result<(), Failure> {
    let json: Value = serde_json::from_slice(answer)?;
    let done = match function {
        "audit-consume" | "log-consume" => {
            json.get("batchItemFailures").and_then(Value::as_array).is_some_and(Vec::is_empty)
        }
        "relay" => json.is_null(),
        "ingest" => json.get("statusCode") == Some(&json!(202)),
        _ => json.get("statusCode") == Some(&json!(200)),
    };
    if done { Ok(()) } else { Err(format!("{function} has not done its work; it answered {json}").into()) }
}

/// The HTTP response inside an answer.
///
/// # Errors
/// When there is none.
pub fn response(answer: &Bytes) -> Result<Response, Failure> {
    payload::response(answer).ok_or_else(|| "the answer is no HTTP response".into())
}

/// The body of a response that says 200.
///
/// # Errors
/// When it says something else.
pub async fn body(answer: &Bytes) -> Result<Bytes, Failure> {
    let (parts, body) = response(answer)?.into_parts();
    let body = to_bytes(body, usize::MAX).await?;
    if parts.status == StatusCode::OK {
        return Ok(body);
    }
    Err(format!("login answered {}: {}", parts.status, String::from_utf8_lossy(&body)).into())
}

/// The access token in an answer of the token endpoint.
///
/// # Errors
/// When there is none.
pub async fn access_token(answer: &Bytes) -> Result<String, Failure> {
    let json: Value = serde_json::from_slice(&body(answer).await?)?;
    Ok(crate::api::member(&json, "access_token")?.to_owned())
}

fn with_cookies(request: Builder, cookies: &[String]) -> Builder {
    if cookies.is_empty() { request } else { request.header(http::header::COOKIE, cookies.join("; ")) }
}

fn json_bytes(json: &Value) -> Bytes {
    Bytes::from(json.to_string())
}
