//! Lines of applications: a sentence with attributes, or a structured body.

use echo_shared::log::line::Severity;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::super::draw::Draw;
use super::super::otlp::{attribute, number, object, text};
use super::{Content, Trace, duration_ms};

const HAPPENED: [&str; 12] = [
    "price calculated",
    "stock reserved",
    "cart merged after sign-in",
    "cache miss, read from database",
    "payment authorized",
    "address verified",
    "discount applied",
    "recommendation served",
    "retry after conflict",
    "invoice drafted",
    "shipment quoted",
    "session refreshed",
];
const FAILED: [&str; 4] =
    ["upstream timed out", "payment declined by issuer", "optimistic lock lost", "stock exhausted"];
const FUNCTIONS: [&str; 10] = [
    "PriceService.quote",
    "StockClient.reserve",
    "CartRepository.save",
    "PaymentGateway.authorize",
    "AddressBook.verify",
    "DiscountEngine.apply",
    "OrderController.create",
    "QueryPlanner.run",
    "InvoiceWriter.draft",
    "SessionStore.refresh",
];
const CURRENCIES: [&str; 4] = ["EUR", "USD", "GBP", "CHF"];

/// What an application writes while it works.
pub fn content(draw: &mut Draw, trace: &Trace, service: &str) -> Content {
    let severity = match draw.below(1_000) {
        0..8 => Severity::Error,
        8..50 => Severity::Warn,
        50..130 => Severity::Debug,
        _ => Severity::Info,
    };
    let words = draw.favour(if severity > Severity::Info { FAILED.as_slice() } else { HAPPENED.as_slice() });
    let place = text("code.function.name", format!("{service}.{}", draw.favour(&FUNCTIONS)));
    let (body, attributes) = if draw.percent(45) {
        (structured(draw, trace, words), vec![place])
    } else {
        sentence(draw, trace, words, place)
    };
    Content { severity, body, attributes }
}

fn structured(draw: &mut Draw, trace: &Trace, words: &str) -> Value {
    object(vec![
        text("message", words),
        text("user_id", trace.user_id()),
        text("order_id", trace.order_id()),
        number("duration_ms", duration_ms(draw)),
        number("items", 1 + draw.skewed(12)),
        number("amount_cents", 99 + draw.skewed(90_000)),
        text("currency", draw.favour(&CURRENCIES)),
        attribute("cached", Value::BoolValue(draw.percent(70))),
    ])
}

fn sentence(draw: &mut Draw, trace: &Trace, words: &str, place: KeyValue) -> (Value, Vec<KeyValue>) {
    let (took, order) = (duration_ms(draw), trace.order_id());
    let body = match draw.below(3) {
        0 => format!("{words} for {order} after {took} ms, {} rows", draw.skewed(500)),
        1 => format!("{words}: order={order} shard={} version={}", draw.below(16), 1 + draw.skewed(30)),
        _ => format!("{words} ({} of {} candidates kept, {took} ms)", draw.skewed(40), 40 + draw.skewed(4_000)),
    };
    let attributes =
        vec![text("user.id", trace.user_id()), text("order.id", order), number("duration_ms", took), place];
    (Value::StringValue(body), attributes)
}
