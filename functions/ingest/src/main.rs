//! The Lambda function `ingest`.

use std::process::ExitCode;
use std::sync::Arc;

use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::queue::Publisher;
use echo_shared::start::configure;
use echo_shared::token::{Jwks, Verifier};
use ingest::{App, Config, Redactor};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let keys = Jwks::new(config.issuer.join("/oauth2/jwks"), clock.clone());
    let verifier = Verifier::new(config.issuer.clone(), keys, clock.clone());
    let publisher = Publisher::new(aws.sqs(), config.queue_urls);
    let (settings, redactor) = (config.settings, Redactor::new());
    let app = App { issuer: config.issuer, verifier, publisher, settings, redactor, clock, entropy };
    match lambda_http::run(ingest::router(Arc::new(app))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
