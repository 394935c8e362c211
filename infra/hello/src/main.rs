//! The least that an HTTP function can be: what `echoctl bench` holds the others against. Never deployed.

use lambda_http::{Error, Request, Response, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_: Request| Ok::<_, Error>(Response::new("hello".to_owned())))).await
}
