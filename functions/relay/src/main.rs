//! The Lambda function `relay`.

use std::process::ExitCode;

use echo_shared::clock::Clock;
use echo_shared::metric::Metrics;
use echo_shared::queue::{Outbox, Publisher};
use echo_shared::start::configure;
use echo_shared::table::Table;
use lambda_runtime::{LambdaEvent, service_fn};
use relay::{App, Config};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let clock = Clock::system();
    let table = Table::new(aws.dynamodb(), config.outbox_table);
    let publisher = Publisher::new(aws.sqs(), config.queue_urls);
    let metrics = Metrics::new(config.stack, clock.clone());
    let app = App { outbox: Outbox::new(table, publisher, clock.clone()), clock, metrics };
    let serve =
        service_fn(async |_: LambdaEvent<Value>| relay::handle(&app).await.map_err(lambda_runtime::Error::from));
    match lambda_runtime::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
