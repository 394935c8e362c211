//! The Lambda function `login`.

use std::process::ExitCode;
use std::sync::Arc;

use echo_shared::clock::Clock;
use echo_shared::config::Env;
use echo_shared::entropy::Entropy;
use echo_shared::{aws, telemetry};
use login::{App, Config};

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::init(&Env::process());
    let config = match Config::from_env(Env::process()) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    let sdk = aws::sdk_config().await;
    let clients = (aws_sdk_dynamodb::Client::new(&sdk), aws_sdk_sqs::Client::new(&sdk));
    let app = App::new(config, clients, Clock::system(), Entropy::system());
    match lambda_http::run(login::router(Arc::new(app))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
