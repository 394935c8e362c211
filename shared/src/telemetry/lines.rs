//! Log lines as JSON objects, one a line, with what the spans around them know: which request, which trace, whose.

use std::fmt::Debug;
use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::trace_id_of_amazon;
use crate::clock::{Clock, sortable};

type Sink = dyn Fn(&[u8]) + Send + Sync;

/// Writes every event as one line, in one write.
pub struct Lines {
    process: Origin,
    clock: Clock,
    write: Box<Sink>,
}

/// A line, in the order of its members.
#[derive(Serialize)]
struct Line {
    timestamp: String,
    level: &'static str,
    message: String,
    #[serde(flatten)]
    origin: Origin,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Where a line comes from. Spans keep theirs in their extensions.
#[derive(Default, Serialize)]
struct Origin {
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    origin: Origin,
    others: Map<String, Value>,
}

impl Lines {
    /// Lines of `function` to standard output.
    pub fn new(function: Option<String>, clock: Clock) -> Self {
        Self::to(function, clock, |line| {
            // A log that cannot be written must not fail what it tells of.
            let _ = std::io::stdout().lock().write_all(line);
        })
    }

    fn to(function: Option<String>, clock: Clock, write: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self { process: Origin { function, ..Origin::default() }, clock, write: Box::new(write) }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut origin = Origin::default();
        attributes.record(&mut origin);
        span.extensions_mut().replace(origin);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(origin) = span.extensions_mut().get_mut::<Origin>() {
            values.record(origin);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, mut origin, others } = fields;
        // From the innermost span outwards: what is nearer counts.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Origin>() {
                origin.fill(outer);
            }
        }
        origin.fill(&self.process);
        let (timestamp, level) = (sortable(self.clock.now()), event.metadata().level().as_str());
        // Texts, numbers and truth values are always JSON.
        if let Ok(mut line) = serde_json::to_vec(&Line { timestamp, level, message, origin, fields: others }) {
            line.push(b'\n');
            (self.write)(&line);
        }
    }
}

impl Origin {
    /// Takes a field that says where a line comes from; whether it is one.
    fn take(&mut self, name: &str, value: impl FnOnce() -> String) -> bool {
        let place = match name {
            "function" => &mut self.function,
            // In camel case: the span that Lambda's runtime puts around an invocation.
            "request_id" | "requestId" => &mut self.request_id,
            "trace_id" | "xrayTraceId" => &mut self.trace_id,
            "org" => &mut self.org,
            _ => return false,
        };
        let value = value();
        *place = if name == "xrayTraceId" { trace_id_of_amazon(&value) } else { Some(value) };
        true
    }

    /// Takes from `outer` what is not known.
    fn fill(&mut self, outer: &Self) {
        let places = [
            (&mut self.function, &outer.function),
            (&mut self.request_id, &outer.request_id),
            (&mut self.trace_id, &outer.trace_id),
            (&mut self.org, &outer.org),
        ];
        for (place, value) in places {
            if place.is_none() {
                place.clone_from(value);
            }
        }
    }
}

impl Visit for Origin {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), || value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field.name(), || format!("{value:?}"));
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, Value::String(text)) if self.origin.take(name, || text.clone()) => {}
            // The line has members of these names already.
            ("timestamp" | "level" | "message" | "function" | "request_id" | "trace_id" | "org", _) => {}
            (name, value) => {
                self.others.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use time::macros::datetime;
    use tracing_subscriber::layer::SubscriberExt;

    use super::Lines;
    use crate::clock::Clock;
    use crate::telemetry::note_org;

    /// What `log` writes, as the function `login`.
    fn written(log: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let clock = Clock::from_fn(|| datetime!(2026-01-01 00:00 UTC));
        let layer = Lines::to(Some("login".into()), clock, move |line| {
            seen.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let lines = lines.lock().unwrap();
        lines.clone()
    }

    fn json(line: &str) -> Value {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_line_knows_its_request_trace_and_org() {
        let lines = written(|| {
            let amazon = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
            let _invocation =
                tracing::info_span!("Lambda runtime invoke", requestId = "r0", xrayTraceId = amazon).entered();
            tracing::warn!("before");
            let org = tracing::field::Empty;
            let _request = tracing::info_span!("request", request_id = "r1", trace_id = "t1", org).entered();
            tracing::info!("nobody yet");
            note_org("acme");
            tracing::info_span!("inner", service = "dynamodb")
                .in_scope(|| tracing::info!(path = "/x", status = 200, "answered"));
        });
        let before = json!({
            "timestamp": "2026-01-01T00:00:00.000000Z", "level": "WARN", "message": "before", "function": "login",
            "request_id": "r0", "trace_id": "5759e988bd862e3fe1be46a994272793",
        });
        assert_eq!(json(&lines[0]), before);
        assert_eq!(json(&lines[1]).get("org"), None);
        let answered = concat!(
            r#"{"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","message":"answered","function":"login","#,
            r#""request_id":"r1","trace_id":"t1","org":"acme","path":"/x","status":200}"#,
            "\n"
        );
        assert_eq!(lines[2], answered);
    }

    #[test]
    fn an_events_own_word_counts_and_no_member_is_there_twice() {
        let lines = written(|| {
            let _request = tracing::info_span!("request", org = "outer").entered();
            let error = std::io::Error::other("a \"quoted\"\nreason");
            tracing::error!(org = "own", level = 3, timestamp = "never", %error, tried = ?(1, 2), "failed");
        });
        assert_eq!(lines[0].matches('\n').count(), 1);
        let expected = json!({
            "timestamp": "2026-01-01T00:00:00.000000Z", "level": "ERROR", "message": "failed", "function": "login",
            "org": "own", "error": "a \"quoted\"\nreason", "tried": "(1, 2)",
        });
        assert_eq!(json(&lines[0]), expected);
        assert_eq!(lines[0].matches("\"level\"").count(), 1);
    }
}
