//! Stack traces: one body of many lines, with more or fewer frames.

use std::fmt::Write;

use echo_shared::log::line::Severity;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::super::draw::Draw;
use super::super::otlp::text;
use super::super::raw;
use super::{Content, Language, Trace};

/// The longest body as JSON: with it a line stays within its 600 bytes.
const LONGEST: usize = 320;
/// The most frames.
const FRAMES: u64 = 7;

const JAVA: [&str; 4] = [
    "java.lang.IllegalStateException",
    "java.sql.SQLTransientException",
    "java.net.SocketTimeoutException",
    "java.lang.NullPointerException",
];
const PYTHON: [&str; 4] = ["KeyError", "TimeoutError", "ValueError", "ConnectionResetError"];
const RUST: [&str; 3] = ["sqlx::Error::PoolTimedOut", "serde_json::Error", "std::io::ErrorKind::BrokenPipe"];
const CLASSES: [&str; 8] = ["Order", "Price", "Stock", "Cart", "Payment", "Session", "Query", "Invoice"];
const METHODS: [&str; 8] = ["load", "save", "apply", "quote", "reserve", "parse", "send", "merge"];

/// What an application writes when it fails.
pub fn content(draw: &mut Draw, trace: &Trace, language: Language) -> Content {
    let kind = match language {
        Language::Java => draw.favour(&JAVA),
        Language::Python => draw.favour(&PYTHON),
        Language::Rust => draw.favour(&RUST),
    };
    let mut body = head(draw, trace, language, kind);
    for _ in 0..2 + draw.below(FRAMES - 1) {
        let frame = frame(draw, language);
        if raw::string(&body) + raw::string(&frame) > LONGEST {
            break;
        }
        body.push_str(&frame);
    }
    let attributes = vec![text("exception.type", kind), text("user.id", trace.user_id())];
    Content { severity: Severity::Error, body: Value::StringValue(body), attributes }
}

fn head(draw: &mut Draw, trace: &Trace, language: Language, kind: &str) -> String {
    let order = trace.order_id();
    match language {
        Language::Java => format!("{kind}: {order} is at version {}", 1 + draw.skewed(40)),
        Language::Python => format!("{kind}: '{order}'\nTraceback (most recent call last):"),
        Language::Rust => format!("thread 'worker-{}' panicked: {kind} for {order}", draw.below(16)),
    }
}

fn frame(draw: &mut Draw, language: Language) -> String {
    let (class, method, line) = (draw.favour(&CLASSES), draw.favour(&METHODS), 12 + draw.skewed(900));
    let mut frame = String::new();
    let _ = match language {
        Language::Java => write!(frame, "\n\tat shop.{class}Service.{method}({class}Service.java:{line})"),
        Language::Python => write!(frame, "\n  File \"/app/{class}.py\", line {line}, in {method}"),
        Language::Rust => write!(frame, "\n  {}: shop::{class}::{method} at src/{method}.rs:{line}", draw.below(30)),
    };
    frame
}
