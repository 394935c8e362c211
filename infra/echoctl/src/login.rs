//! `echoctl login`: authorization code with PKCE, as a native app does it (RFC 8252).

mod browser;
pub mod form;

use clap::Args;
use echo_shared::entropy::Entropy;
use echo_shared::secret::Secret;
use serde_json::Value;
use url::Url;

use crate::Failure;
use crate::api::{Target, http, json, member};

/// Sign in with the browser, or with --email on this terminal, and print an access token.
#[derive(Args)]
pub struct Login {
    #[command(flatten)]
    target: Target,
    /// Sign in on this terminal; the password is asked for, or read from standard input
    #[arg(long)]
    email: Option<String>,
    /// The OAuth client
    #[arg(long, default_value = crate::seed::SPA_ID)]
    client_id: String,
    /// Scopes, separated by spaces
    #[arg(long, default_value = "openid profile email audit.read")]
    scope: String,
    /// Print the whole token response
    #[arg(long)]
    json: bool,
}

/// One attempt to sign in: what must come back, and what proves that it is ours.
pub struct Attempt {
    issuer: String,
    client_id: String,
    scope: String,
    redirect_uri: String,
    state: String,
    verifier: Secret,
}

impl Login {
    /// Signs in and prints the token.
    pub async fn run(self) -> Result<(), Failure> {
        let entropy = Entropy::system();
        let attempt = |redirect_uri: String| Attempt {
            issuer: self.target.url(),
            client_id: self.client_id.clone(),
            scope: self.scope.clone(),
            redirect_uri,
            state: entropy.token(),
            verifier: Secret::new(entropy.token()),
        };
        let answer = match &self.email {
            Some(email) => {
                let attempt = attempt(format!("http://127.0.0.1:{}/callback", browser::PORT));
                let callback = form::sign_in(&attempt, email, &password()?).await?;
                attempt.redeem(&callback).await?
            }
            None => {
                let listener = browser::listen().await?;
                let attempt = attempt(format!("http://{}/callback", listener.local_addr()?));
                browser::open(&attempt.url()?);
                let callback = browser::wait(listener, &attempt).await?;
                attempt.redeem(&callback).await?
            }
        };
        if self.json {
            println!("{answer}");
            return Ok(());
        }
        let token = member(&answer, "access_token")?;
        let who = json(http()?.get(format!("{}/oauth2/userinfo", self.target.url())).bearer_auth(token)).await?;
        let name = who.get("email").or(who.get("sub")).and_then(Value::as_str).unwrap_or_default();
        eprintln!("signed in as {} with: {}", crate::show::plain(name), member(&answer, "scope")?);
        println!("{token}");
        Ok(())
    }
}

impl Attempt {
    /// Where the person has to go.
    pub fn url(&self) -> Result<Url, Failure> {
        let challenge = echo_shared::token::pkce_challenge(self.verifier.expose());
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", &self.scope),
            ("state", &self.state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        Ok(Url::parse_with_params(&format!("{}/oauth2/authorize", self.issuer), parameters)?)
    }

    /// Checks what came back and exchanges the code.
    async fn redeem(&self, callback: &Url) -> Result<Value, Failure> {
        let parameter = |name: &str| callback.query_pairs().find(|(key, _)| key == name).map(|(_, v)| v.into_owned());
        if parameter("state").as_deref() != Some(&self.state) || parameter("iss").as_deref() != Some(&self.issuer) {
            return Err("the answer is not to this attempt; try again".into());
        }
        if let Some(error) = parameter("error") {
            let described = parameter("error_description").unwrap_or(error);
            return Err(format!("sign-in was refused: {}", crate::show::plain(&described)).into());
        }
        let code = parameter("code").ok_or("the answer has no code")?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &self.redirect_uri),
            ("client_id", &self.client_id),
            ("code_verifier", self.verifier.expose()),
        ];
        json(http()?.post(format!("{}/oauth2/token", self.issuer)).form(&form)).await
    }
}

/// From a person without echo, from a pipe as its first line.
pub fn password() -> Result<Secret, Failure> {
    use std::io::IsTerminal;
    if std::io::stdin().is_terminal() {
        return Ok(Secret::new(rpassword::prompt_password("Password: ")?));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}
