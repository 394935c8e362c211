//! The Lambda function `audit-consume`.

use std::process::ExitCode;

use audit_consume::{App, Config};
use aws_lambda_events::sqs::SqsEvent;
use echo_shared::aws;
use echo_shared::clock::Clock;
use echo_shared::start::configure;
use echo_shared::table::Table;
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(config) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws::sdk_config().await);
    let app = App { log: Table::new(dynamodb, config.table), clock: Clock::system() };
    let serve = service_fn(async |event: LambdaEvent<SqsEvent>| {
        audit_consume::handle(&app, event.payload).await.map_err(lambda_runtime::Error::from)
    });
    match lambda_runtime::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
