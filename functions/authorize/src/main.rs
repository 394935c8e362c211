//! The Lambda function `authorize`.

use std::process::ExitCode;
use std::sync::Arc;

use authorize::{App, Config, PolicyStore};
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::metric::Metrics;
use echo_shared::queue::Publisher;
use echo_shared::start::configure;
use echo_shared::table::Table;
use echo_shared::token::{Jwks, Verifier};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let keys = Jwks::new(config.issuer.join("/oauth2/jwks"), clock.clone());
    let verifier = Verifier::new(config.issuer.clone(), keys, clock.clone());
    let table = Table::new(aws.dynamodb(), config.policy_table);
    let policies = PolicyStore::new(table, clock.clone());
    let publisher = Publisher::new(aws.sqs(), config.queue_urls);
    let metrics = Metrics::new(config.stack, clock.clone());
    let app = Arc::new(App { issuer: config.issuer, verifier, policies, publisher, metrics, clock, entropy });
    let early = Arc::clone(&app);
    tokio::spawn(async move { early.warm_up().await });
    match lambda_http::run(authorize::router(app)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
