//! The Lambda function `query`.

use std::process::ExitCode;
use std::sync::Arc;

use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::queue::Publisher;
use echo_shared::start::configure;
use echo_shared::table::Table;
use echo_shared::token::{Jwks, Verifier};
use query::{App, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let clock = Clock::system();
    let keys = Jwks::new(config.issuer.join("/oauth2/jwks"), clock.clone());
    let app = App {
        verifier: Verifier::new(config.issuer.clone(), keys, clock.clone()),
        issuer: config.issuer,
        log: Table::new(aws.dynamodb(), config.audit_log_table),
        heads: Table::new(aws.dynamodb(), config.audit_head_table),
        log_store: Table::new(aws.dynamodb(), config.log_store_table),
        settings: config.settings,
        publisher: Publisher::new(aws.sqs(), config.queue_urls),
        clock,
        entropy: Entropy::system(),
    };
    match lambda_http::run(query::router(Arc::new(app))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
