//! Logs and trace context.

mod lines;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::clock::Clock;
use crate::config::Env;
use crate::entropy::Entropy;
use lines::Lines;

/// Starts logging to standard output: JSON lines when Lambda asks for them (`AWS_LAMBDA_LOG_FORMAT=JSON`), text
/// otherwise; the level comes from `AWS_LAMBDA_LOG_LEVEL`, then `RUST_LOG`, then `info`.
///
/// A JSON line has `timestamp`, `level`, `message`, then, as far as they are known, `function`, `request_id`,
/// `trace_id` and `org`, then the event's own fields.
pub fn init(env: &Env<'_>) {
    let level =
        env.optional("AWS_LAMBDA_LOG_LEVEL").or_else(|| env.optional("RUST_LOG")).unwrap_or_else(|| "info".into());
    let filter = level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match env.optional("AWS_LAMBDA_LOG_FORMAT").as_deref() {
        Some("JSON") => Lines::new(env.optional("AWS_LAMBDA_FUNCTION_NAME"), Clock::system()).boxed(),
        _ => tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).boxed(),
    };
    // A second call (tests) keeps the first subscriber.
    if tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Tells the request's log lines, from here on, whose they are.
pub fn note_org(org: &str) {
    tracing::Span::current().record("org", org);
}

/// A W3C trace context (`traceparent`, version 00).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: String,
    span_id: String,
}

impl TraceContext {
    /// Goes on with the caller's trace, given its `traceparent` or `X-Amzn-Trace-Id`, or starts one.
    pub fn continue_from(traceparent: Option<&str>, amazon: Option<&str>, entropy: &Entropy) -> Self {
        let trace_id = traceparent
            .and_then(trace_id_of)
            .or_else(|| amazon.and_then(trace_id_of_amazon))
            .unwrap_or_else(|| hex(&entropy.bytes::<16>()));
        Self { trace_id, span_id: hex(&entropy.bytes::<8>()) }
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// The header and envelope form.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

/// The trace id inside a valid `traceparent` (W3C Trace Context section 3.2).
pub fn trace_id_of(traceparent: &str) -> Option<String> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let valid = version == "00"
        && parts.next().is_none()
        && is_id(trace, 32)
        && is_id(span, 16)
        && flags.len() == 2
        && flags.bytes().all(is_lower_hex);
    valid.then(|| trace.to_owned())
}

/// AWS X-Ray's `Root=1-{8 hex}-{24 hex}` carries the same 128 bits.
fn trace_id_of_amazon(header: &str) -> Option<String> {
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root=1-"))?;
    let id: String = root.split('-').collect();
    is_id(&id, 32).then_some(id)
}

fn is_id(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(is_lower_hex) && text.bytes().any(|byte| byte != b'0')
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{TraceContext, trace_id_of};
    use crate::entropy::Entropy;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_callers_trace_goes_on() {
        let entropy = Entropy::from_fn(|bytes| bytes.fill(7));
        let trace = TraceContext::continue_from(Some(PARENT), None, &entropy);
        assert_eq!(trace.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-01");
        let amazon = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let trace = TraceContext::continue_from(None, Some(amazon), &entropy);
        assert_eq!(trace.trace_id(), "5759e988bd862e3fe1be46a994272793");
    }

    #[test]
    fn malformed_trace_headers_start_a_new_trace() {
        for bad in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            &format!("{PARENT}-x"),
        ] {
            assert_eq!(trace_id_of(bad), None, "{bad}");
        }
    }
}
