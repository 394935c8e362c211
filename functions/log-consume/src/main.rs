//! The Lambda function `log-consume`: batches of the queue `log`.

use std::process::ExitCode;

use aws_lambda_events::sqs::SqsEvent;
use echo_shared::clock::Clock;
use echo_shared::start::configure;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use log_consume::{App, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let app = App::new(config, aws.dynamodb(), Clock::system());
    let serve = service_fn(async |event: LambdaEvent<SqsEvent>| {
        log_consume::handle(&app, event.payload).await.map_err(Error::from)
    });
    match lambda_runtime::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
