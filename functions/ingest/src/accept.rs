//! From the bytes of a request to events that may enter a queue.

use std::io;

use echo_shared::audit::Entry;
use echo_shared::audit::leaf::{Leaf, LeafError};
use echo_shared::clock::sortable;
use echo_shared::event::{Envelope, MAX_ENVELOPE, audit, log};
use echo_shared::http::Problem;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::line;
use crate::pack::{Packer, Rejection, Sender};

/// The most events in one request.
pub const MAX_EVENTS: usize = 500;

/// The event types that callers may send. The others are Echo's own.
const ALLOWED: [&str; 2] = [audit::TYPE, log::TYPE];

/// What the token says about whoever sends the events.
pub struct Caller<'a> {
    /// The tenant, the events' source, and the time of events without their own.
    pub sender: Sender<'a>,
    /// The request's trace context, for events without their own.
    pub traceparent: String,
}

/// What a request came to.
#[derive(Debug, Default, PartialEq)]
pub struct Accepted {
    /// The ids of the caller's events, in their order.
    pub ids: Vec<String>,
    /// What goes into the queues: the caller's events, with log lines in blocks.
    pub events: Vec<Envelope>,
}

/// Why nothing of a request is accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not JSON, or the wrong shape of it.
    #[error("{0}")]
    Body(String),
    /// More than [`MAX_EVENTS`].
    #[error("{0} events are too many; send at most {MAX_EVENTS} at once")]
    TooMany(usize),
    /// The event at an index breaks a rule.
    #[error("event {0}: {1}")]
    Event(usize, String),
    /// The event at an index is too large to be stored.
    #[error("event {0}: {1}")]
    EventTooLarge(usize, String),
    /// The event at an index claims to be from somebody else.
    #[error("event {0}: `{1}` is set by Echo from your token; leave it out or send `{2}`")]
    Foreign(usize, &'static str, String),
    /// Log lines could not be packed; trying again may help.
    #[error("{0}")]
    Unpacked(String),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, kind, index) = match &refusal {
            Refusal::Body(_) => (StatusCode::BAD_REQUEST, "invalid-body", None),
            Refusal::TooMany(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-many-events", None),
            Refusal::Event(index, _) => (StatusCode::BAD_REQUEST, "invalid-event", Some(*index)),
            Refusal::EventTooLarge(index, _) => (StatusCode::PAYLOAD_TOO_LARGE, "event-too-large", Some(*index)),
            Refusal::Foreign(index, _, _) => (StatusCode::FORBIDDEN, "foreign-event", Some(*index)),
            Refusal::Unpacked(cause) => return Self::unavailable(cause),
        };
        let problem = Self::new(status, kind, format!("{refusal}; nothing was accepted"));
        match index {
            Some(index) => problem.with("index", json!(index)),
            None => problem,
        }
    }
}

/// Reads one event or a batch (`batch`: whether the media type says which) and makes the events the caller's own.
///
/// # Errors
/// The first reason to refuse; then nothing of the request counts.
pub fn accept(body: &[u8], batch: Option<bool>, caller: &Caller<'_>) -> Result<Accepted, Refusal> {
    let json: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::Body(format!("the body is no JSON: {error}")))?;
    let events = match (json, batch) {
        (Value::Array(events), None | Some(true)) => events,
        (event @ Value::Object(_), None | Some(false)) => vec![event],
        (_, Some(true)) => return Err(Refusal::Body("a batch is an array of CloudEvents".into())),
        _ => return Err(Refusal::Body("send a CloudEvent, a JSON object".into())),
    };
    match events.len() {
        0 => Err(Refusal::Body("the batch is empty".into())),
        1..=MAX_EVENTS => accept_all(events, caller),
        count => Err(Refusal::TooMany(count)),
    }
}

fn accept_all(events: Vec<Value>, caller: &Caller<'_>) -> Result<Accepted, Refusal> {
    let mut accepted = Accepted::default();
    let mut packer = Packer::new(&caller.sender);
    for (index, event) in events.into_iter().enumerate() {
        let envelope = accept_one(index, event, caller)?;
        accepted.ids.push(envelope.id.clone());
        if envelope.event_type == log::TYPE {
            add_line(index, envelope, &mut packer)?;
        } else {
            check_audit(index, &envelope, caller)?;
            accepted.events.push(envelope);
        }
    }
    accepted.events.extend(packer.finish().map_err(unpacked)?.events);
    Ok(accepted)
}

fn accept_one(index: usize, event: Value, caller: &Caller<'_>) -> Result<Envelope, Refusal> {
    let Value::Object(mut event) = event else {
        return Err(Refusal::Event(index, "not a JSON object".into()));
    };
    own(&mut event, "org", caller.sender.org, index)?;
    own(&mut event, "source", caller.sender.source, index)?;
    event.entry("time").or_insert_with(|| sortable(caller.sender.now).into());
    event.entry("traceparent").or_insert_with(|| caller.traceparent.clone().into());
    let invalid = |reason: String| Refusal::Event(index, reason);
    let envelope: Envelope =
        serde_json::from_value(Value::Object(event)).map_err(|error| invalid(error.to_string()))?;
    envelope.check().map_err(|error| invalid(error.to_string()))?;
    if !ALLOWED.contains(&envelope.event_type.as_str()) {
        let reason = format!("type `{}` is not accepted here; send one of {}", envelope.event_type, ALLOWED.join(", "));
        return Err(invalid(reason));
    }
    let size = envelope.to_body().len();
    if size > MAX_ENVELOPE {
        let reason = format!("{size} bytes are too many; an event may have {MAX_ENVELOPE}");
        return Err(Refusal::EventTooLarge(index, reason));
    }
    Ok(envelope)
}

/// What the audit log would refuse must not enter the queue.
fn check_audit(index: usize, envelope: &Envelope, caller: &Caller<'_>) -> Result<(), Refusal> {
    let invalid = |reason: String| Refusal::Event(index, reason);
    let entry = Entry::new(envelope, caller.sender.now).map_err(invalid)?;
    match Leaf::new(&entry, [0; _]) {
        Ok(_) => Ok(()),
        Err(error @ LeafError::TooLarge { .. }) => Err(Refusal::EventTooLarge(index, error.to_string())),
        Err(error) => Err(invalid(error.to_string())),
    }
}

/// Packs a log line. Unlike OTLP, the front door for events knows no partial success: one that is rejected refuses all.
fn add_line(index: usize, envelope: Envelope, packer: &mut Packer<'_>) -> Result<(), Refusal> {
    let logs = line::read(envelope).map_err(|reason| Refusal::Event(index, reason))?;
    packer.add(logs).map_err(unpacked)?;
    match packer.rejection() {
        None => Ok(()),
        Some(rejection @ Rejection::Size(_)) => Err(Refusal::EventTooLarge(index, rejection.to_string())),
        Some(rejection) => Err(Refusal::Event(index, rejection.to_string())),
    }
}

fn unpacked(error: io::Error) -> Refusal {
    Refusal::Unpacked(error.to_string())
}

/// Sets an attribute that is the server's to set; a caller may repeat it, not contradict it.
fn own(event: &mut Map<String, Value>, name: &'static str, value: &str, index: usize) -> Result<(), Refusal> {
    match event.insert(name.into(), value.into()) {
        None => Ok(()),
        Some(claimed) if claimed == value => Ok(()),
        Some(_) => Err(Refusal::Foreign(index, name, value.into())),
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::log::block;
    use echo_shared::log::line::lines;
    use echo_shared::log::settings::Settings;
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::{Accepted, Caller, MAX_EVENTS, Refusal, accept};
    use crate::pack::Sender;
    use crate::redact::Redactor;

    fn accept_at(body: &[u8], batch: Option<bool>) -> Result<Accepted, Refusal> {
        let (settings, redactor) = (Settings::default(), Redactor::new());
        let sender = Sender {
            org: "demo",
            source: "/clients/c",
            settings: settings.of("demo"),
            redactor: &redactor,
            now: datetime!(2026-01-01 00:00 UTC),
        };
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into();
        accept(body, batch, &Caller { sender, traceparent })
    }

    fn line(body: Value) -> Value {
        json!({"specversion": "1.0", "id": "l", "type": "log", "data": {"body": body}})
    }

    fn event() -> Value {
        json!({"specversion": "1.0", "id": "1", "type": "audit",
               "data": {"actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "success"}})
    }

    fn try_one(change: impl FnOnce(&mut Value)) -> Result<Accepted, Refusal> {
        let mut changed = event();
        change(&mut changed);
        accept_at(changed.to_string().as_bytes(), None)
    }

    #[test]
    fn org_source_time_and_trace_come_from_the_server() {
        let accepted = try_one(|_| {}).unwrap().events.remove(0);
        assert_eq!((accepted.org.as_str(), accepted.source.as_str()), ("demo", "/clients/c"));
        assert_eq!(accepted.time, datetime!(2026-01-01 00:00 UTC));
        assert!(accepted.trace_id().is_some());
        assert!(try_one(|event| event["org"] = json!("demo")).is_ok(), "repeating is no contradiction");
    }

    #[test]
    fn claims_of_another_org_or_source_are_refused() {
        for (name, value) in [("org", json!("other")), ("source", json!("/login")), ("org", json!(null))] {
            let refused = try_one(|event| event[name] = value).unwrap_err();
            assert!(matches!(refused, Refusal::Foreign(0, found, _) if found == name), "{refused:?}");
        }
    }

    #[test]
    fn only_allowed_types_with_their_payload_are_accepted() {
        for (name, value) in [
            ("type", json!("membership_changed")),
            ("type", json!("unheard_of")),
            ("data", json!({})),
            ("id", json!("")),
            ("specversion", json!("2")),
            ("time", json!("yesterday")),
            ("time", json!("2026-01-01T00:10:01Z")),
        ] {
            assert!(matches!(try_one(|event| event[name] = value), Err(Refusal::Event(0, _))), "{name}");
        }
    }

    #[test]
    fn one_bad_event_refuses_the_whole_batch_by_index() {
        let batch = json!([event(), event(), {"id": "bad"}]);
        let refused = accept_at(batch.to_string().as_bytes(), Some(true)).unwrap_err();
        assert!(matches!(refused, Refusal::Event(2, _)), "{refused:?}");
    }

    #[test]
    fn shapes_and_sizes_are_bounded() {
        let accept = |body: &str, batch| accept_at(body.as_bytes(), batch);
        for body in ["", "{", "1", "null", "[]", "\"x\""] {
            assert!(matches!(accept(body, None), Err(Refusal::Body(_))), "{body}");
        }
        assert!(matches!(accept(&event().to_string(), Some(true)), Err(Refusal::Body(_))));
        assert!(matches!(accept(&json!([event()]).to_string(), Some(false)), Err(Refusal::Body(_))));
        let many = json!(vec![event(); MAX_EVENTS + 1]).to_string();
        assert_eq!(accept(&many, None), Err(Refusal::TooMany(MAX_EVENTS + 1)));
        let large = try_one(|event| event["data"]["details"] = json!({"x": "y".repeat(70_000)}));
        assert!(matches!(large, Err(Refusal::EventTooLarge(0, _))));
        let unpacked = try_one(|event| event["data"]["details"] = json!({"x": vec![1e20; 5_000]}));
        assert!(matches!(unpacked, Err(Refusal::EventTooLarge(0, _))), "{unpacked:?}");
        let number = try_one(|event| event["data"]["details"] = json!({"n": 1u64 << 60}));
        assert!(matches!(number, Err(Refusal::Event(0, _))));
    }

    #[test]
    fn log_lines_are_packed_beside_other_events() {
        let batch = json!([line(json!("one")), event(), line(json!({"password": "hunter2"}))]);
        let accepted = accept_at(batch.to_string().as_bytes(), None).unwrap();
        assert_eq!(accepted.ids, ["l", "1", "l"]);
        let types: Vec<_> = accepted.events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(types, ["audit", "log"]);
        let packed = echo_shared::event::log::Packed::parse(accepted.events[1].data.clone()).unwrap();
        let logs = block::read(&packed.block().unwrap().unpack().unwrap()).unwrap();
        assert_eq!(lines(&logs).count(), 2);
        assert!(lines(&logs).all(|line| line.trace_id().is_some()));
        assert!(!format!("{logs:?}").contains("hunter2"));
    }

    #[test]
    fn one_bad_line_refuses_the_whole_batch_by_index() {
        let refused = |bad: Value| {
            let batch = json!([event(), line(json!("good")), bad, line(json!("good"))]);
            accept_at(batch.to_string().as_bytes(), None).unwrap_err()
        };
        let mut late = line(json!("x"));
        late["time"] = json!("2025-01-01T00:00:00Z");
        assert!(matches!(refused(late), Refusal::Event(2, reason) if reason.contains("30 days")));
        let large = refused(line(json!("x".repeat(50_000))));
        assert!(matches!(large, Refusal::EventTooLarge(2, _)), "{large:?}");
        let mut packed = line(json!("x"));
        packed["data"] = json!({"block": "KLUv/SAA", "days": 1});
        assert!(matches!(refused(packed), Refusal::Event(2, _)), "blocks are Echo's own");
    }
}
