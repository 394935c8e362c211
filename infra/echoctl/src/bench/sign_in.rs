//! One sign-in as login sees it: authorization code with PKCE, in five requests.

use axum::body::{Bytes, to_bytes};
use echo_shared::token::pkce_challenge;
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::events::{self, Events};
use super::instance::{Answer, Instance};
use crate::login::form::hidden;
use crate::{Failure, seed};

/// Registered for the demo's public client.
const REDIRECT_URI: &str = "http://127.0.0.1:8976/callback";

/// A browser and the application it comes from.
struct Browser<'a> {
    events: &'a Events,
    login: &'a mut Instance,
    cookies: Vec<String>,
    answers: Vec<Answer>,
}

/// Signs Alice in; login's answers on the way.
pub async fn sign_in(events: &Events, login: &mut Instance) -> Result<Vec<Answer>, Failure> {
    let verifier = events.entropy.token();
    let mut browser = Browser { events, login, cookies: Vec::new(), answers: Vec::new() };
    let authorize = authorize_url(events, &verifier)?;
    let page = browser.redirected(browser.events.page(&target(&authorize), &[])?).await?;
    let html = browser.shown(browser.events.page(&target(&page), &browser.cookies)?).await?;
    let field = |name| hidden(&html, name).ok_or_else(|| format!("the login page has no field `{name}`"));
    let (csrf, return_to) = (field("csrf")?, field("return_to")?);
    let form =
        [("csrf", csrf.as_str()), ("return_to", &return_to), ("email", seed::ALICE), ("password", seed::PASSWORD)];
    let again = browser.redirected(browser.events.form("/login", &form, &browser.cookies)?).await?;
    let callback = browser.redirected(browser.events.page(&target(&again), &browser.cookies)?).await?;
    let code = callback.query_pairs().find(|(name, _)| name == "code").ok_or("the redirect carries no code")?.1;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("client_id", seed::SPA_ID),
        ("code_verifier", &verifier),
    ];
    browser.shown(browser.events.form("/oauth2/token", &form, &[])?).await?;
    Ok(browser.answers)
}

fn authorize_url(events: &Events, verifier: &str) -> Result<Url, Failure> {
    let parameters = [
        ("response_type", "code"),
        ("client_id", seed::SPA_ID),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "openid profile email"),
        ("state", "state"),
        ("nonce", "nonce"),
        ("code_challenge", &pkce_challenge(verifier)),
        ("code_challenge_method", "S256"),
    ];
    Ok(Url::parse_with_params(&events.issuer.join("/oauth2/authorize"), parameters)?)
}

/// Path and query.
fn target(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

impl Browser<'_> {
    /// Where a request is redirected to.
    async fn redirected(&mut self, event: Bytes) -> Result<Url, Failure> {
        let (_, headers, text) = self.send(event).await?;
        let location = headers.get(LOCATION).ok_or_else(|| format!("login did not redirect: {text}"))?;
        Ok(Url::parse(self.events.issuer.as_str())?.join(location.to_str()?)?)
    }

    /// What a request shows.
    async fn shown(&mut self, event: Bytes) -> Result<String, Failure> {
        let (status, _, text) = self.send(event).await?;
        if status == StatusCode::OK { Ok(text) } else { Err(format!("login answered {status}: {text}").into()) }
    }

    async fn send(&mut self, event: Bytes) -> Result<(StatusCode, HeaderMap, String), Failure> {
        let answer = self.login.invoke(event).await?;
        let (parts, body) = events::response(&answer.body)?.into_parts();
        self.answers.push(answer);
        for value in parts.headers.get_all(SET_COOKIE) {
            let pair = value.to_str()?.split(';').next().unwrap_or_default();
            let name = format!("{}=", pair.split('=').next().unwrap_or_default());
            self.cookies.retain(|known| !known.starts_with(&name));
            self.cookies.push(pair.to_owned());
        }
        let text = String::from_utf8_lossy(&to_bytes(body, usize::MAX).await?).into_owned();
        Ok((parts.status, parts.headers, text))
    }
}
