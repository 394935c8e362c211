//! What AWS charges in us-east-1, in US dollars: list prices of 2026, without free tiers and discounts.

use serde_json::{Value, json};

/// HTTP APIs, the first 300 million requests of a month. <https://aws.amazon.com/api-gateway/pricing/>
pub const API_REQUEST: f64 = 1.00 / 1e6;
/// Lambda, per invocation. <https://aws.amazon.com/lambda/pricing/>
pub const INVOCATION: f64 = 0.20 / 1e6;
/// Lambda on x86_64, per gigabyte and second. Same page.
pub const GB_SECOND_X86_64: f64 = 0.000_016_666_7;
/// Lambda on arm64, per gigabyte and second. Same page.
pub const GB_SECOND_ARM64: f64 = 0.000_013_333_4;
/// DynamoDB on demand, per write request unit. <https://aws.amazon.com/dynamodb/pricing/on-demand/>
pub const WRITE_UNIT: f64 = 0.625 / 1e6;
/// DynamoDB on demand, per read request unit. Same page.
pub const READ_UNIT: f64 = 0.125 / 1e6;
/// SQS standard queues, per request of up to 64 KB. <https://aws.amazon.com/sqs/pricing/>
pub const SQS_REQUEST: f64 = 0.40 / 1e6;
/// CloudWatch Logs, per gigabyte taken in. <https://aws.amazon.com/cloudwatch/pricing/>
pub const LOG_BYTE: f64 = 0.50 / 1e9;
/// EventBridge Scheduler, per invocation. <https://aws.amazon.com/eventbridge/pricing/>
pub const SCHEDULED: f64 = 1.00 / 1e6;
/// X-Ray, per trace that is recorded. <https://aws.amazon.com/xray/pricing/>
pub const TRACE: f64 = 5.00 / 1e6;

/// One SQS request is charged per so many bytes.
pub const SQS_CHUNK: usize = 64 * 1024;

/// The table, for the record.
pub fn table() -> Value {
    json!({
        "region": "us-east-1", "year": 2026, "currency": "USD",
        "api_gateway_per_million_requests": 1.00, "lambda_per_million_requests": 0.20,
        "lambda_per_gb_second_x86_64": GB_SECOND_X86_64, "lambda_per_gb_second_arm64": GB_SECOND_ARM64,
        "dynamodb_per_million_write_units": 0.625, "dynamodb_per_million_read_units": 0.125,
        "sqs_per_million_requests": 0.40, "cloudwatch_logs_per_gb": 0.50, "scheduler_per_million": 1.00,
        "xray_per_million_traces": 5.00,
    })
}
