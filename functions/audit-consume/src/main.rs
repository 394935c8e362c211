//! The Lambda function `audit-consume`: batches of the queue `audit`, and on a schedule the copies of checkpoints.

use std::process::ExitCode;

use audit_consume::{App, Config};
use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::start::configure;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A batch, or a scheduled run, which has no records.
#[derive(Deserialize)]
struct Call {
    #[serde(rename = "Records")]
    records: Option<Vec<SqsMessage>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(Config::from_env) else { return ExitCode::FAILURE };
    let bucket = config.bucket.clone();
    let s3 = aws.s3();
    let app = App::new(config, aws.dynamodb(), Clock::system(), Entropy::system());
    let serve = service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        if let Some(records) = serde_json::from_str::<Call>(event.payload.get())?.records {
            let mut batch = SqsEvent::default();
            batch.records = records;
            let response = audit_consume::handle(&app, batch).await?;
            return Ok::<Value, Error>(serde_json::to_value(response)?);
        }
        let copied = audit_consume::copy(&app.heads, &s3, &bucket).await?;
        Ok(json!({ "copied": copied }))
    });
    match lambda_runtime::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
