//! The Lambda function `relay`.

use std::process::ExitCode;

use echo_shared::aws;
use echo_shared::clock::Clock;
use echo_shared::queue::{Outbox, Publisher};
use echo_shared::start::configure;
use echo_shared::table::Table;
use lambda_runtime::{LambdaEvent, service_fn};
use relay::{App, Config};
use serde_json::Value;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(config) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let sdk = aws::sdk_config().await;
    let clock = Clock::system();
    let table = Table::new(aws_sdk_dynamodb::Client::new(&sdk), config.outbox_table);
    let publisher = Publisher::new(aws_sdk_sqs::Client::new(&sdk), config.queue_urls);
    let app = App { outbox: Outbox::new(table, publisher, clock.clone()), clock };
    let serve =
        service_fn(async |_: LambdaEvent<Value>| relay::handle(&app).await.map_err(lambda_runtime::Error::from));
    match lambda_runtime::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
