//! The envelope that everything travels in: CloudEvents 1.0, structured JSON.

pub mod audit;
pub mod log;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::telemetry::{TraceContext, trace_id_of};

/// The org of events whose tenant is not known (an unknown user or client).
pub const SYSTEM_ORG: &str = "_system";

/// The longest `id`, `source`, `subject`, `org` or `type`, in bytes.
pub const MAX_NAME: usize = 256;

/// The largest serialised envelope, in bytes. A leaf of a tiled transparency log is at most 65,535 bytes.
pub const MAX_ENVELOPE: usize = 60 * 1024;

/// A queue between two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// What happened: to audit-consume.
    Audit,
    /// Blocks of log lines: to log-consume.
    Log,
}

impl Queue {
    /// The environment variable that holds its URL.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Audit => "AUDIT_QUEUE_URL",
            Self::Log => "LOG_QUEUE_URL",
        }
    }
}

/// The queues an event type goes to: the one place that says so. Empty for a type Echo does not know.
pub fn routes(event_type: &str) -> &'static [Queue] {
    match event_type {
        audit::TYPE => &[Queue::Audit],
        log::TYPE => &[Queue::Log],
        _ => &[],
    }
}

/// One event: the SQS message body and the `payload` column of `message_queue`.
///
/// The idempotency key is (`org`, `source`, `id`), never the id of the message that carried it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Always `1.0`.
    pub specversion: String,
    /// Unique within `org` and `source`; Echo's own are UUIDs version 7.
    pub id: String,
    /// Who produced it: `/login`, `/authorize`, `/clients/{client_id}`. Set by the server.
    pub source: String,
    /// The event type, see [`routes`].
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The tenant (extension attribute). Set by the server from the caller's token.
    pub org: String,
    /// W3C trace context (the CloudEvents distributed tracing extension).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Always JSON.
    #[serde(default = "json_type")]
    pub datacontenttype: String,
    /// The typed payload, for example [`audit::Record`].
    pub data: Value,
}

fn json_type() -> String {
    "application/json".into()
}

/// Why an event cannot be accepted. The texts are shown to whoever sent it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON, or not the shape of a CloudEvent.
    #[error("not a CloudEvents 1.0 JSON object: {0}")]
    Malformed(String),
    /// Larger than [`MAX_ENVELOPE`].
    #[error("the event is {0} bytes; at most {MAX_ENVELOPE} are accepted")]
    TooLarge(usize),
    /// An attribute breaks its rule.
    #[error("`{attribute}` {rule}")]
    Attribute {
        /// The attribute's name.
        attribute: &'static str,
        /// The rule it breaks.
        rule: String,
    },
}

impl Envelope {
    /// A new event that happens now.
    pub fn new(
        clock: &Clock,
        entropy: &Entropy,
        trace: &TraceContext,
        (source, org, event_type): (&str, &str, &str),
        data: Value,
    ) -> Self {
        let now = clock.now();
        Self {
            specversion: "1.0".into(),
            id: entropy.uuid_v7(now).to_string(),
            source: source.into(),
            event_type: event_type.into(),
            time: now,
            subject: None,
            org: org.into(),
            traceparent: Some(trace.traceparent()),
            datacontenttype: json_type(),
            data,
        }
    }

    /// Reads a message body; the size is checked before the JSON is.
    ///
    /// # Errors
    /// When the body is too large, is no CloudEvent, or an attribute breaks its rule.
    pub fn parse(body: &str) -> Result<Self, EnvelopeError> {
        if body.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::TooLarge(body.len()));
        }
        let envelope: Self = serde_json::from_str(body).map_err(|error| EnvelopeError::Malformed(error.to_string()))?;
        envelope.check()?;
        Ok(envelope)
    }

    /// Holds every attribute against its rule.
    ///
    /// # Errors
    /// Names the first attribute that breaks one.
    pub fn check(&self) -> Result<(), EnvelopeError> {
        if self.specversion != "1.0" {
            return Err(attribute("specversion", "must be `1.0`"));
        }
        if self.datacontenttype != "application/json" {
            return Err(attribute("datacontenttype", "must be `application/json`"));
        }
        let names = [("id", &self.id), ("source", &self.source), ("type", &self.event_type), ("org", &self.org)];
        for (name, value) in names {
            check_name(name, value)?;
        }
        if let Some(subject) = &self.subject {
            check_name("subject", subject)?;
        }
        // DynamoDB sort keys and RFC 3339 need a four-digit year.
        if !(1970..=9999).contains(&self.time.year()) {
            return Err(attribute("time", "must lie between 1970 and 9999"));
        }
        Ok(())
    }

    /// The message body.
    pub fn to_body(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The trace id, when a valid trace context came along.
    pub fn trace_id(&self) -> Option<String> {
        self.traceparent.as_deref().and_then(trace_id_of)
    }
}

fn check_name(name: &'static str, value: &str) -> Result<(), EnvelopeError> {
    check_text(value).map_err(|rule| attribute(name, &rule))
}

/// Whether a text can be a name: a key of an item, a value that is searched for.
///
/// # Errors
/// The rule that it breaks.
pub fn check_text(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > MAX_NAME {
        return Err(format!("must have 1 to {MAX_NAME} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".into());
    }
    Ok(())
}

fn attribute(attribute: &'static str, rule: &str) -> EnvelopeError {
    EnvelopeError::Attribute { attribute, rule: rule.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Envelope, EnvelopeError, MAX_ENVELOPE, Queue, routes};

    fn sample() -> serde_json::Value {
        json!({
            "specversion": "1.0", "id": "1", "source": "/test", "type": "audit", "time": "2026-01-01T00:00:00Z",
            "org": "demo", "data": {}
        })
    }

    #[test]
    fn an_envelope_survives_the_wire() {
        let envelope = Envelope::parse(&sample().to_string()).unwrap();
        assert_eq!(Envelope::parse(&envelope.to_body()).unwrap(), envelope);
    }

    #[test]
    fn each_broken_attribute_is_named() {
        for (name, value) in [
            ("specversion", json!("0.3")),
            ("id", json!("")),
            ("source", json!("a\u{0}b")),
            ("type", json!("x".repeat(257))),
            ("org", json!("")),
            ("subject", json!("")),
            ("time", json!("1969-12-31T23:59:59Z")),
            ("datacontenttype", json!("text/plain")),
        ] {
            let mut event = sample();
            event[name] = value;
            match Envelope::parse(&event.to_string()) {
                Err(EnvelopeError::Attribute { attribute, .. }) => assert_eq!(attribute, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn malformed_and_oversized_bodies_are_refused() {
        assert!(matches!(Envelope::parse("{"), Err(EnvelopeError::Malformed(_))));
        assert!(matches!(Envelope::parse("[]"), Err(EnvelopeError::Malformed(_))));
        assert!(matches!(Envelope::parse(&" ".repeat(MAX_ENVELOPE + 1)), Err(EnvelopeError::TooLarge(_))));
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(Envelope::parse(&deep), Err(EnvelopeError::Malformed(_))));
    }

    #[test]
    fn only_known_types_have_a_queue() {
        assert_eq!(routes("audit"), [Queue::Audit]);
        assert_eq!(routes("log"), [Queue::Log]);
        assert!(routes("user_changed").is_empty());
    }
}
