//! The Lambda function `query`.

use std::process::ExitCode;
use std::sync::Arc;

use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::start::configure;
use echo_shared::table::Table;
use echo_shared::token::{Jwks, Verifier};
use query::{App, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some((config, aws)) = configure(|env| env.read(Config::read)) else { return ExitCode::FAILURE };
    let clock = Clock::system();
    let keys = Jwks::new(config.issuer.join("/oauth2/jwks"), clock.clone());
    let verifier = Verifier::new(config.issuer.clone(), keys, clock);
    let log = Table::new(aws.dynamodb(), config.audit_log_table);
    let app = App { issuer: config.issuer, verifier, log, entropy: Entropy::system() };
    match lambda_http::run(query::router(Arc::new(app))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
