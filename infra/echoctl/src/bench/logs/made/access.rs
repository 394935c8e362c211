//! Access lines: the combined log format, but the user agent stands once, as an attribute. Twice, it would compress too
//! well.

use std::fmt::Write;

use echo_shared::log::key::SECOND;
use echo_shared::log::line::Severity;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use time::OffsetDateTime;

use super::super::draw::{Draw, mix};
use super::super::otlp::{number, text};
use super::{Content, Trace};

/// Browsers on these systems, each in [`VERSIONS`] versions: three dozen agents.
const SYSTEMS: [&str; 6] = [
    "Windows NT 10.0; Win64; x64",
    "Linux; Android 10; K",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "X11; CrOS x86_64 14541.0.0",
    "Windows NT 6.1; WOW64",
];
const VERSIONS: u64 = 6;
/// And programs.
const PROGRAMS: [&str; 6] = [
    "okhttp/4.12.0",
    "ShopApp/7.31.2 (Android 14)",
    "ShopApp/7.30.0 (iOS 17.5)",
    "python-requests/2.32.3",
    "Go-http-client/2.0",
    "curl/8.7.1",
];
const REFERERS: [&str; 6] = [
    "-",
    "https://shop.example/",
    "https://shop.example/cart",
    "https://www.google.com/",
    "https://duckduckgo.com/",
    "https://news.example/",
];
const SECTIONS: [&str; 8] = ["shoes", "books", "garden", "kitchen", "toys", "audio", "office", "sale"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What a front door writes of a request.
pub fn content(draw: &mut Draw, trace: &Trace, now: u64) -> Content {
    let (method, path) = target(draw, trace);
    let status = status(draw, method);
    let address = address(trace.user);
    let referer = draw.favour(&REFERERS);
    let mut body = String::with_capacity(160);
    let _ = write!(body, "{address} - {} [", person(draw, trace));
    put_time(&mut body, now);
    let size = 120 + draw.skewed(180_000);
    let _ = write!(body, "] \"{method} {path} HTTP/1.1\" {status} {size} \"{referer}\"");
    let severity = match status {
        500.. => Severity::Error,
        400.. => Severity::Warn,
        _ => Severity::Info,
    };
    let attributes = vec![
        text("http.request.method", method),
        text("url.path", path),
        number("http.response.status_code", status),
        text("client.address", address),
        text("user_agent.original", agent(trace.user)),
    ];
    Content { severity, body: Value::StringValue(body), attributes }
}

fn target(draw: &mut Draw, trace: &Trace) -> (&'static str, String) {
    let thing = draw.skewed(80_000);
    match draw.below(100) {
        0..25 => ("GET", format!("/api/v2/products/{thing}")),
        25..45 => ("GET", format!("/c/{}/{}", draw.favour(&SECTIONS), draw.skewed(40))),
        45..60 => ("GET", format!("/assets/{:08x}.js", mix(draw.skewed(60)) >> 32)),
        60..75 => ("GET", format!("/api/v2/orders/{:08x}", trace.order >> 32)),
        75..85 => ("POST", "/api/v2/orders".into()),
        85..92 => ("PUT", format!("/api/v2/carts/{:08x}", mix(trace.user) >> 32)),
        92..97 => ("GET", "/api/v2/search".into()),
        _ => ("DELETE", format!("/api/v2/carts/{:08x}", mix(trace.user) >> 32)),
    }
}

fn status(draw: &mut Draw, method: &str) -> u64 {
    match (draw.below(1_000), method) {
        (0..6, _) => 500,
        (6..10, _) => 503,
        (10..40, _) => 404,
        (40..50, _) => 401,
        (50..56, _) => 429,
        (56..150, "GET") => 304,
        (_, "POST") => 201,
        (_, "DELETE") => 204,
        _ => 200,
    }
}

fn person(draw: &mut Draw, trace: &Trace) -> String {
    if draw.percent(60) { "-".into() } else { format!("u{}", trace.user) }
}

/// The same user has the same address.
fn address(user: u64) -> String {
    let [a, b, c, d, ..] = mix(user ^ 0x000a_dd12).to_le_bytes();
    format!("{}.{b}.{c}.{d}", 20 + a % 180)
}

/// The same user has the same agent.
fn agent(user: u64) -> String {
    let mut draw = Draw::new(user);
    if draw.percent(20) {
        return draw.favour(&PROGRAMS).into();
    }
    let (system, version) = (draw.favour(&SYSTEMS), 128 - draw.skewed(VERSIONS));
    format!("Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36")
}

/// `31/Jan/2026:12:00:00 +0000`.
fn put_time(body: &mut String, now: u64) {
    let seconds = i64::try_from(now / SECOND).unwrap_or_default();
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let month = MONTHS.get(usize::from(u8::from(time.month())).saturating_sub(1)).copied().unwrap_or_default();
    let (year, day) = (time.year(), time.day());
    let (hour, minute, second) = time.to_hms();
    let _ = write!(body, "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000");
}

#[cfg(test)]
mod tests {
    use super::put_time;

    #[test]
    fn times_are_written_as_web_servers_do() {
        let mut text = String::new();
        put_time(&mut text, 1_769_860_805_999_999_999);
        assert_eq!(text, "31/Jan/2026:12:00:05 +0000");
    }
}
