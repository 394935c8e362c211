//! The Lambda function `authorize`.

use std::process::ExitCode;
use std::sync::Arc;

use authorize::{App, Config, PolicyStore};
use echo_shared::aws;
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::queue::Publisher;
use echo_shared::start::configure;
use echo_shared::table::Table;
use echo_shared::token::{Jwks, Verifier};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(config) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let sdk = aws::sdk_config().await;
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let keys = Jwks::new(config.issuer.join("/oauth2/jwks"), clock.clone());
    let verifier = Verifier::new(config.issuer.clone(), keys, clock.clone());
    let table = Table::new(aws_sdk_dynamodb::Client::new(&sdk), config.policy_table);
    let policies = PolicyStore::new(table, clock.clone());
    let publisher = Publisher::new(aws_sdk_sqs::Client::new(&sdk), config.queue_urls);
    let app = App { issuer: config.issuer, verifier, policies, publisher, clock, entropy };
    match lambda_http::run(authorize::router(Arc::new(app))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
