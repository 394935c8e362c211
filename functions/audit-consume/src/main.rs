//! The Lambda function `audit-consume`.

use std::process::ExitCode;

use audit_consume::{App, Config};
use aws_lambda_events::sqs::SqsEvent;
use echo_shared::clock::Clock;
use echo_shared::metric::Metrics;
use echo_shared::start::configure;
use echo_shared::table::Table;
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let clock = Clock::system();
    let metrics = Metrics::new(config.stack, clock.clone());
    let app = App { log: Table::new(aws.dynamodb(), config.table), clock, metrics };
    let serve = service_fn(async |event: LambdaEvent<SqsEvent>| {
        audit_consume::handle(&app, event.payload).await.map_err(lambda_runtime::Error::from)
    });
    match lambda_runtime::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
