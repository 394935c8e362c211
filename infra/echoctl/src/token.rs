//! `echoctl token`.

use clap::Args;

use crate::Failure;
use crate::api::{Credentials, Target, member};

/// Get a client's own access token; on a local stack the demo service's by default.
#[derive(Args)]
pub struct Token {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    credentials: Credentials,
    /// Scopes, separated by spaces [default: all that the client was granted]
    #[arg(long)]
    scope: Option<String>,
    /// The resource server that the token is for (RFC 8707)
    #[arg(long)]
    resource: Option<String>,
    /// Print the whole token response
    #[arg(long)]
    json: bool,
}

impl Token {
    /// Prints the token.
    pub async fn run(self) -> Result<(), Failure> {
        let url = self.target.url();
        let answer = self.credentials.token(&url, self.scope.as_deref(), self.resource.as_deref()).await?;
        if self.json {
            println!("{answer}");
        } else {
            println!("{}", member(&answer, "access_token")?);
        }
        Ok(())
    }
}
