//! Who reads, and where.

use clap::Args;
use reqwest::{Client, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::Failure;
use crate::api::{Credentials, Target, http, member, ok, refusal, send};

/// Whose logs are read, and as whom.
#[derive(Args)]
pub struct Reader {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    credentials: Credentials,
    /// An access token with the scope that is needed (audit.read, logs.read), instead of client credentials
    #[arg(long, env = "ECHO_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// An open door: it outlives the tokens it is opened with, unless the token was given.
pub struct Session<'a> {
    reader: &'a Reader,
    scope: &'static str,
    http: Client,
    url: String,
    token: String,
}

/// Echo refuses, and trying again does not help: the scope is missing, or a given token is good no longer.
#[derive(Debug)]
pub struct Denied(String);

impl std::error::Error for Denied {}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reader {
    /// Opens the door to what `scope` allows.
    ///
    /// # Errors
    /// [`Denied`] when there is no token with this scope for whoever reads.
    pub async fn open(&self, scope: &'static str) -> Result<Session<'_>, Failure> {
        let url = self.target.url();
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.fresh(&url, scope).await.map_err(|error| denied_if(is_scope_refused(&error), error))?,
        };
        Ok(Session { reader: self, scope, http: http()?, url, token })
    }

    async fn fresh(&self, url: &str, scope: &str) -> Result<String, Failure> {
        let answer = self.credentials.token(url, Some(scope), None).await?;
        Ok(member(&answer, "access_token")?.to_owned())
    }
}

impl Session<'_> {
    /// Asks for what is at `path`; an error answer becomes a sentence, as [`Denied`] when it is final.
    pub async fn get(&mut self, path: &str, query: &(impl Serialize + ?Sized)) -> Result<Response, Failure> {
        let mut response = self.ask(path, query).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.reader.token.is_none() {
            self.token = self.reader.fresh(&self.url, self.scope).await?;
            response = self.ask(path, query).await?;
        }
        let is_final = self.is_final(response.status());
        ok(response).await.map_err(|error| denied_if(is_final, error))
    }

    /// [`Self::get`] of JSON.
    pub async fn json(&mut self, path: &str, query: &(impl Serialize + ?Sized)) -> Result<Value, Failure> {
        let text = self.get(path, query).await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A token that was not given may be refused by a stack that has just begun anew.
    fn is_final(&self, status: StatusCode) -> bool {
        status == StatusCode::FORBIDDEN || (status == StatusCode::UNAUTHORIZED && self.reader.token.is_some())
    }

    async fn ask(&self, path: &str, query: &(impl Serialize + ?Sized)) -> Result<Response, Failure> {
        send(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).query(query)).await
    }
}

/// Whether the token endpoint refuses the scope (RFC 6749 section 5.2), or whoever asks.
fn is_scope_refused(error: &Failure) -> bool {
    refusal(error).is_some_and(|refusal| {
        matches!(refusal.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) || refusal.code == "invalid_scope"
    })
}

fn denied_if(is_final: bool, error: Failure) -> Failure {
    if is_final { Denied(error.to_string()).into() } else { error }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::{get, post};
    use clap::Parser;
    use http::StatusCode;

    use super::{Denied, Reader};
    use crate::Failure;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        reader: Reader,
    }

    /// Reads from a server whose token endpoint and API answer so.
    async fn read(token: (u16, &'static str), answer: u16, arguments: &[&str]) -> Result<(), Failure> {
        let status = |status: u16| StatusCode::from_u16(status).unwrap();
        let routes = Router::new()
            .route("/oauth2/token", post(async move || (status(token.0), token.1)))
            .route("/read", get(async move || (status(answer), "{}")));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        let Cli { reader } = Cli::parse_from([&["read", "--url", &url], arguments].concat());
        let asked = async { reader.open("logs.read").await?.json("/read", &[("limit", "1")]).await.map(drop) };
        let done = asked.await;
        server.abort();
        done
    }

    const TOKEN: (u16, &str) = (200, r#"{"access_token": "t"}"#);

    #[tokio::test]
    async fn only_a_refused_scope_or_a_given_token_is_final() {
        assert!(read(TOKEN, 200, &[]).await.is_ok());
        for (token, answer, arguments, is_final) in [
            ((400, r#"{"error": "invalid_scope"}"#), 200, &[][..], true),
            ((401, r#"{"error": "invalid_client"}"#), 200, &[], true),
            ((403, ""), 200, &[], true),
            ((400, r#"{"error": "invalid_request"}"#), 200, &[], false),
            ((503, ""), 200, &[], false),
            ((200, "{}"), 200, &[], false),
            (TOKEN, 403, &[], true),
            (TOKEN, 401, &[], false),
            (TOKEN, 503, &[], false),
            (TOKEN, 401, &["--token", "t"], true),
        ] {
            let error = read(token, answer, arguments).await.unwrap_err();
            assert_eq!(error.is::<Denied>(), is_final, "{token:?} {answer} {arguments:?}: {error}");
        }
    }
}
