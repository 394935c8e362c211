//! The Lambda function `audit-consume`: batches of the queue `audit`, and on a schedule the copies of checkpoints.

use std::process::ExitCode;

use audit_consume::{App, Config};
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::start::configure;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What tells a batch from a scheduled run.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "Records")]
    records: Option<IgnoredAny>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(Config::from_env) else { return ExitCode::FAILURE };
    let bucket = config.bucket.clone();
    let s3 = aws.s3();
    let app = App::new(config, aws.dynamodb(), Clock::system(), Entropy::system());
    let serve = service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let event = event.payload.get();
        if serde_json::from_str::<Kind>(event)?.records.is_some() {
            let response = audit_consume::handle(&app, serde_json::from_str(event)?).await?;
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
