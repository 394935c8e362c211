//! Echo over HTTP, as any client sees it.

use clap::Args;
use echo_shared::secret::Secret;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::{Failure, workspace};

/// Which Echo to talk to.
#[derive(Args)]
pub struct Target {
    /// Echo's base URL [default: the stack that runs from this checkout, or http://localhost:9000]
    #[arg(long, env = "ECHO_URL")]
    url: Option<String>,
}

impl Target {
    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        let given = self.url.clone().or_else(|| workspace::running(None).map(|run| run.url));
        given.unwrap_or_else(|| "http://localhost:9000".into()).trim_end_matches('/').to_owned()
    }
}

/// Whose token to get: by default the demo service's, on a local stack.
#[derive(Args)]
pub struct Credentials {
    /// The OAuth client
    #[arg(long, env = "ECHO_CLIENT_ID", default_value = crate::seed::SERVICE_ID)]
    pub client_id: String,
    /// Its secret; better given in the environment than on the command line
    #[arg(long, env = "ECHO_CLIENT_SECRET", hide_env_values = true)]
    client_secret: Option<String>,
}

impl Credentials {
    /// A token by client credentials (RFC 6749 section 4.4): the whole token response.
    pub async fn token(&self, url: &str, scope: Option<&str>, resource: Option<&str>) -> Result<Value, Failure> {
        let local = url.starts_with("http://") && self.client_id == crate::seed::SERVICE_ID;
        let secret = match &self.client_secret {
            Some(secret) => Secret::new(secret),
            None if local => Secret::new(crate::seed::SERVICE_SECRET),
            None => return Err("set ECHO_CLIENT_SECRET (or --client-secret)".into()),
        };
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(scope.map(|scope| ("scope", scope)));
        form.extend(resource.map(|resource| ("resource", resource)));
        let request = http()?.post(format!("{url}/oauth2/token"));
        json(request.basic_auth(&self.client_id, Some(secret.expose())).form(&form)).await
    }
}

/// An HTTP client that follows nothing by itself.
pub fn http() -> Result<reqwest::Client, Failure> {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    Ok(builder.timeout(std::time::Duration::from_secs(35)).build()?)
}

/// Sends a request; a connection that fails says what to do.
pub async fn send(request: RequestBuilder) -> Result<Response, Failure> {
    request.send().await.map_err(|error| {
        if error.is_connect() {
            let url = error.url().map(ToString::to_string).unwrap_or_default();
            return format!("nothing answers at {url}; start the stack with ./scripts/local, or name another --url")
                .into();
        }
        Failure::from(error)
    })
}

/// Sends a request and reads its JSON answer; an error answer becomes a sentence.
pub async fn json(request: RequestBuilder) -> Result<Value, Failure> {
    let text = ok(send(request).await?).await?.text().await?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// An error answer, as a sentence.
#[derive(Debug)]
pub struct Refusal {
    /// Its status.
    pub status: StatusCode,
    /// What OAuth calls the error (RFC 6749 section 5.2); empty when the answer names none.
    pub code: String,
    said: String,
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, crate::show::plain(&self.said))
    }
}

/// The error answer that a command failed with, if that was it.
pub fn refusal(error: &Failure) -> Option<&Refusal> {
    error.downcast_ref()
}

/// An answer that is no error; an error answer becomes a [`Refusal`].
pub async fn ok(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let text = response.text().await?;
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    let member = |name: &str| json.get(name).and_then(Value::as_str);
    let said = member("detail").or(member("error_description")).or(member("error")).unwrap_or(&text);
    let code = member("error").unwrap_or_default().to_owned();
    Err(Refusal { status, code, said: said.to_owned() }.into())
}

/// A string member of an answer.
pub fn member<'a>(json: &'a Value, name: &str) -> Result<&'a str, Failure> {
    json.get(name).and_then(Value::as_str).ok_or_else(|| format!("the answer lacks `{name}`").into())
}
