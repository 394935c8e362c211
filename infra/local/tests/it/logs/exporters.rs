//! OpenTelemetry's own SDKs, as their users have them: told a URL and a header, and nothing else.

use std::collections::HashMap;
use std::path::Path;

use echo_shared::clock::Clock;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::{SpanId, TraceFlags, TraceId};
use opentelemetry_otlp::{Compression, LogExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use serde_json::json;
use tokio::process::Command;

use super::super::echo::Echo;
use super::{hex, range, trace};

/// Sends 700 lines of the service `name`: more than a batch of the SDK.
fn send_with_the_rust_sdk(endpoint: &str, token: &str, name: &'static str, compression: Option<Compression>) {
    let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {token}"))]);
    let builder = LogExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let builder = builder.with_endpoint(endpoint).with_headers(headers);
    let builder = match compression {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    };
    let provider = SdkLoggerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name(name).build())
        .with_batch_exporter(builder.build().unwrap())
        .build();
    let logger = provider.logger("checkout");
    let now = Clock::system().now();
    for number in 0..700_i64 {
        let mut record = logger.create_log_record();
        record.set_timestamp((now + time::Duration::milliseconds(number)).into());
        record.set_severity_number(if number == 7 { Severity::Error } else { Severity::Info });
        record.set_severity_text("as it was");
        record.set_body(AnyValue::from(format!("order {number} taken")));
        record.add_attribute("amount", number);
        record.add_attribute("half", 0.5);
        record.add_attribute("paid", true);
        if number == 7 {
            let (trace, span) = (TraceId::from_bytes(trace(77)), SpanId::from_bytes([9; 8]));
            record.set_trace_context(trace, span, Some(TraceFlags::SAMPLED));
        }
        logger.emit(record);
    }
    provider.force_flush().unwrap();
    provider.shutdown().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_sends_as_it_is() {
    let echo = Echo::start().await;
    let (endpoint, token, begin) =
        (format!("{}/v1/logs", echo.listen("ingest").await), echo.token(|_| {}), echo.nanos());
    for (name, compression) in [("rust", None), ("rust-gzip", Some(Compression::Gzip))] {
        let (endpoint, token) = (endpoint.clone(), token.clone());
        // It blocks.
        let sent = move || send_with_the_rust_sdk(&endpoint, &token, name, compression);
        tokio::task::spawn_blocking(sent).await.unwrap();
        echo.drain_logs().await;
        let window = range(begin - 1_000, echo.nanos() + 60_000_000_000);
        let lines = echo.search(&format!("{window}&service={name}&limit=100")).await;
        assert_eq!(lines.len(), 700);
        let errors = echo.search(&format!("{window}&service={name}&severity=ERROR")).await;
        assert_eq!(errors.len(), 1);
        let error = &errors[0];
        assert_eq!((&error["body"], &error["scope"]), (&json!("order 7 taken"), &json!("checkout")));
        assert_eq!(error["attributes"], json!({"amount": 7, "half": 0.5, "paid": true}));
        assert_eq!((&error["trace_id"], &error["span_id"]), (&json!(hex(&trace(77))), &json!("09".repeat(8))));
        assert_eq!((&error["severity_number"], &error["severity_text"]), (&json!(17), &json!("as it was")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_sends_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../../.echo/test/bin/python");
    assert!(python.exists(), "{} is missing: ./scripts/setup --test installs it", python.display());
    let echo = Echo::start().await;
    let (endpoint, begin) = (format!("{}/v1/logs", echo.listen("ingest").await), echo.nanos());
    let script = root.join("tests/otlp_logs.py");
    let output = Command::new(python).arg(script).arg(endpoint).arg(echo.token(|_| {})).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    echo.drain_logs().await;
    let window = range(begin - 1_000, echo.nanos());
    for compression in ["none", "gzip"] {
        let lines = echo.search(&format!("{window}&service=python-{compression}&limit=100")).await;
        assert_eq!(lines.len(), 601, "{compression}");
        let errors = echo.search(&format!("{window}&service=python-{compression}&severity=ERROR")).await;
        assert_eq!(errors.len(), 1);
        assert_eq!((&errors[0]["body"], &errors[0]["severity"]), (&json!("the till is stuck"), &json!("ERROR")));
        let order = lines.iter().find(|line| line["body"] == "order 599 taken").unwrap();
        assert_eq!((&order["attributes"]["shop.id"], &order["attributes"]["amount"]), (&json!("s7"), &json!(599)));
        assert_eq!(order["scope"], format!("shop.{compression}"));
    }
}
