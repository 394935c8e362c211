//! The Lambda function `login`.

use std::process::ExitCode;
use std::sync::Arc;

use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::start::configure;
use login::{App, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(Config::from_env) else { return ExitCode::FAILURE };
    let app = App::new(config, (aws.dynamodb(), aws.sqs()), Clock::system(), Entropy::system());
    match lambda_http::run(login::router(Arc::new(app))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
