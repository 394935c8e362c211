//! Who reads, and where.

use clap::Args;
use echo_shared::audit::note::VerifierKey;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use crate::Failure;
use crate::api::{Credentials, Target, http, member, ok, send};

/// Whose log is read, and as whom.
#[derive(Args)]
pub struct Reader {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    credentials: Credentials,
    /// An access token with the scope audit.read, instead of client credentials
    #[arg(long, env = "ECHO_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// An open door: it outlives the tokens it is opened with, unless the token was given.
pub struct Session<'a> {
    reader: &'a Reader,
    http: Client,
    url: String,
    token: String,
}

impl Reader {
    /// Opens the door.
    pub async fn open(&self) -> Result<Session<'_>, Failure> {
        let url = self.target.url();
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.fresh(&url).await?,
        };
        Ok(Session { reader: self, http: http()?, url, token })
    }

    async fn fresh(&self, url: &str) -> Result<String, Failure> {
        let answer = self.credentials.token(url, Some("audit.read"), None).await?;
        Ok(member(&answer, "access_token")?.to_owned())
    }
}

impl Session<'_> {
    /// Asks for what is at `path`; an error answer becomes a sentence.
    pub async fn get(&mut self, path: &str, query: &[(&str, &str)]) -> Result<Response, Failure> {
        let response = self.ask(path, query).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.reader.token.is_none() {
            self.token = self.reader.fresh(&self.url).await?;
            return ok(self.ask(path, query).await?).await;
        }
        ok(response).await
    }

    /// [`Self::get`] of JSON.
    pub async fn json(&mut self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let text = self.get(path, query).await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The keys that the log says are its own.
    pub async fn keys(&mut self) -> Result<Vec<VerifierKey>, Failure> {
        let answer = self.json("/audit/v1/keys", &[]).await?;
        let items = answer.get("items").and_then(Value::as_array).into_iter().flatten();
        items.map(|item| Ok(member(item, "vkey")?.parse()?)).collect()
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Response, Failure> {
        send(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).query(query)).await
    }
}
