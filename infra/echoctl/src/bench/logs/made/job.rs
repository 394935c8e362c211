//! Lines of workers: keys and values in one text.

use echo_shared::log::line::Severity;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::super::draw::Draw;
use super::super::otlp::{number, text};
use super::{Content, Trace, duration_ms};

const TASKS: [&str; 6] =
    ["thumbnail.render", "mail.deliver", "report.build", "index.refresh", "feed.export", "image.scan"];
const PLACES: [&str; 4] = ["uploads-eu", "uploads-us", "exports", "archive"];
const ENDINGS: [&str; 4] = ["jpg", "png", "pdf", "csv"];

/// What a worker writes of a job.
pub fn content(draw: &mut Draw, trace: &Trace, service: &str) -> Content {
    let (result, severity) = match draw.below(1_000) {
        0..10 => ("failed", Severity::Error),
        10..40 => ("retry", Severity::Warn),
        40..100 => ("skipped", Severity::Debug),
        _ => ("ok", Severity::Info),
    };
    let id = draw.number();
    let body = format!(
        "job={} id={id:016x} attempt={} queue={service}-{} took_ms={} bytes={} \
         source=s3://{}/{:08x}.{} result={result}",
        draw.favour(&TASKS),
        1 + draw.skewed(4),
        if draw.percent(25) { "high" } else { "low" },
        duration_ms(draw),
        draw.skewed(9_000_000),
        draw.favour(&PLACES),
        draw.number() >> 32,
        draw.pick(&ENDINGS),
    );
    let attributes = vec![
        text("messaging.message.id", format!("{:016x}", draw.number())),
        text("user.id", trace.user_id()),
        number("process.pid", 200 + draw.skewed(32_000)),
    ];
    Content { severity, body: Value::StringValue(body), attributes }
}
