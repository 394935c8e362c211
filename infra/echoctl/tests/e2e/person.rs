//! A person with a browser, and an application that uses the `openidconnect` crate.

use std::sync::Mutex;

use openidconnect::core::{CoreClient, CoreProviderMetadata, CoreResponseType};
use openidconnect::{
    AuthenticationFlow, AuthorizationCode, ClientId, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse,
};
use reqwest::StatusCode;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use url::Url;

use super::echo::Echo;

pub const PASSWORD: &str = "correct-horse-battery-staple";

pub struct SignedIn<'a> {
    pub access_token: String,
    id_token: String,
    browser: Browser<'a>,
    pub subject: String,
    pub email: String,
}

/// A browser: it keeps cookies and does not follow redirects by itself.
pub struct Browser<'a> {
    echo: &'a Echo,
    cookies: Mutex<Vec<String>>,
}

impl<'a> Browser<'a> {
    pub fn new(echo: &'a Echo) -> Self {
        Self { echo, cookies: Mutex::default() }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<reqwest::Response> {
        let jar = self.cookies.lock().unwrap().join("; ");
        let response = request.header(COOKIE, jar).send().await?;
        let mut jar = self.cookies.lock().unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            let name = pair.split_inclusive('=').next().unwrap().to_owned();
            jar.retain(|known| !known.starts_with(&name));
            jar.push(pair);
        }
        Ok(response)
    }

    /// Opens `url` as far as the login page and fills it in; the answer to the form.
    pub async fn sign_in(&self, url: Url, email: &str, password: &str) -> reqwest::Result<reqwest::Response> {
        let redirect = self.send(self.echo.http.get(url.clone())).await?;
        assert_eq!(redirect.status(), 303);
        let page = url.join(redirect.headers()[LOCATION].to_str().unwrap()).unwrap();
        let html = self.send(self.echo.http.get(page.clone())).await?.text().await?;
        let (csrf, return_to) = (field(&html, "csrf"), field(&html, "return_to"));
        let form = [("csrf", csrf.as_str()), ("return_to", &return_to), ("email", email), ("password", password)];
        let post = self.echo.http.post(page.join("/login").unwrap()).header(ORIGIN, &self.echo.url);
        self.send(post.form(&form)).await
    }

    async fn follow(&self, response: reqwest::Response) -> Url {
        let mut location = Url::parse(&self.echo.url).unwrap();
        let mut response = response;
        loop {
            assert_eq!(response.status(), 303, "{:?}", response.headers());
            location = location.join(response.headers()[LOCATION].to_str().unwrap()).unwrap();
            if !location.as_str().starts_with(&self.echo.url) || location.path() == "/console/callback" {
                return location;
            }
            response = self.send(self.echo.http.get(location.clone())).await.unwrap();
        }
    }
}

fn field(html: &str, name: &str) -> String {
    let (_, after) = html.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{html}"));
    after.split_once('"').unwrap().0.replace("&#38;", "&").replace("&amp;", "&")
}

/// The whole code flow with PKCE, discovery to verified ID token.
pub async fn sign_in<'a>(echo: &'a Echo, email: &str) -> SignedIn<'a> {
    let http = |request: HttpRequest| async { call(&echo.http, request).await };
    let issuer = IssuerUrl::new(echo.url.clone()).unwrap();
    let metadata = CoreProviderMetadata::discover_async(issuer, &http).await.unwrap();
    let redirect = RedirectUrl::new(format!("{}/console/callback", echo.url)).unwrap();
    let client =
        CoreClient::from_provider_metadata(metadata, ClientId::new("demo-spa".into()), None).set_redirect_uri(redirect);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
    let (url, state, nonce) = client
        .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("email".into()))
        .add_scope(Scope::new("audit.read".into()))
        .set_pkce_challenge(challenge)
        .url();

    let browser = Browser::new(echo);
    let answer = browser.sign_in(url, email, PASSWORD).await.unwrap();
    let callback = browser.follow(answer).await;
    let parameter = |name: &str| callback.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!(parameter("state"), *state.secret());
    assert_eq!(parameter("iss"), echo.url);

    let code = AuthorizationCode::new(parameter("code"));
    let tokens = client.exchange_code(code).unwrap().set_pkce_verifier(verifier).request_async(&http).await.unwrap();
    let id_token = tokens.id_token().unwrap();
    let claims = id_token.claims(&client.id_token_verifier(), &nonce).unwrap();
    SignedIn {
        access_token: tokens.access_token().secret().clone(),
        id_token: id_token.to_string(),
        browser,
        subject: claims.subject().to_string(),
        email: claims.email().unwrap().to_string(),
    }
}

/// The answer to a password that is wrong.
pub async fn mistype(echo: &Echo, email: &str) -> StatusCode {
    let account = Url::parse(&format!("{}/account", echo.url)).unwrap();
    Browser::new(echo).sign_in(account, email, "correct-horse-battery-stable").await.unwrap().status()
}

impl SignedIn<'_> {
    /// What `/oauth2/userinfo` answers.
    pub async fn userinfo(&self) -> StatusCode {
        let Echo { http, url, .. } = self.browser.echo;
        let request = http.get(format!("{url}/oauth2/userinfo")).bearer_auth(&self.access_token);
        request.send().await.unwrap().status()
    }

    /// Signs out as the application asks for it.
    pub async fn sign_out(&self) -> StatusCode {
        let Echo { http, url, .. } = self.browser.echo;
        let request = http.get(format!("{url}/oauth2/logout")).query(&[("id_token_hint", &self.id_token)]);
        self.browser.send(request).await.unwrap().status()
    }
}

async fn call(http: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let (parts, body) = request.into_parts();
    let sent = http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body).send().await?;
    let mut response = HttpResponse::new(Vec::new());
    *response.status_mut() = sent.status();
    *response.headers_mut() = sent.headers().clone();
    *response.body_mut() = sent.bytes().await?.to_vec();
    Ok(response)
}
