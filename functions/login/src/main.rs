//! The Lambda function `login`.

use std::process::ExitCode;
use std::sync::Arc;

use echo_shared::aws;
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::start::configure;
use login::{App, Config};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(config) = configure(Config::from_env) else { return ExitCode::FAILURE };
    let sdk = aws::sdk_config().await;
    let clients = (aws_sdk_dynamodb::Client::new(&sdk), aws_sdk_sqs::Client::new(&sdk));
    let app = App::new(config, clients, Clock::system(), Entropy::system());
    match lambda_http::run(login::router(Arc::new(app))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
