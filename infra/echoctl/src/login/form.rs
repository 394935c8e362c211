//! Signing in on a terminal: the login page, filled in.

use echo_shared::secret::Secret;
use reqwest::Response;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use url::Url;

use super::Attempt;
use crate::Failure;
use crate::api::{http, send};

/// Redirects that are followed before giving up.
const MAX_STEPS: usize = 5;

/// Goes through the login page; returns the redirect that carries the code.
pub async fn sign_in(attempt: &Attempt, email: &str, password: &Secret) -> Result<Url, Failure> {
    let http = http()?;
    let mut cookies: Vec<String> = Vec::new();
    let mut url = attempt.url()?;
    for _ in 0..MAX_STEPS {
        if url.as_str().starts_with(&attempt.redirect_uri) {
            return Ok(url);
        }
        let page = send(http.get(url.clone()).header(COOKIE, cookies.join("; "))).await?;
        keep_cookies(&page, &mut cookies);
        if let Some(next) = location(&page, &url)? {
            url = next;
            continue;
        }
        let html = page.text().await?;
        let Some(csrf) = hidden(&html, "csrf") else {
            return Err(alert(&html).unwrap_or_else(|| "Echo showed no login page".into()).into());
        };
        let return_to = hidden(&html, "return_to").unwrap_or_default();
        let form =
            [("csrf", csrf.as_str()), ("return_to", &return_to), ("email", email), ("password", password.expose())];
        let login = url.join("/login")?;
        let request = http.post(login.clone()).header(COOKIE, cookies.join("; "));
        let answer = send(request.header(ORIGIN, login.origin().ascii_serialization()).form(&form)).await?;
        keep_cookies(&answer, &mut cookies);
        url = match location(&answer, &login)? {
            Some(next) => next,
            None => return Err(alert(&answer.text().await?).unwrap_or_else(|| "sign-in failed".into()).into()),
        };
    }
    Err("too many redirects".into())
}

fn location(response: &Response, base: &Url) -> Result<Option<Url>, Failure> {
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    Ok(Some(base.join(location.to_str()?)?))
}

fn keep_cookies(response: &Response, cookies: &mut Vec<String>) {
    for value in response.headers().get_all(SET_COOKIE) {
        let pair = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        let name = format!("{}=", pair.split('=').next().unwrap_or_default());
        cookies.retain(|known| !known.starts_with(&name));
        cookies.push(pair.to_owned());
    }
}

/// The value of a hidden field.
pub fn hidden(html: &str, name: &str) -> Option<String> {
    let (_, after) = html.split_once(&format!("name=\"{name}\" value=\""))?;
    Some(unescape(after.split_once('"')?.0))
}

/// The page's error line.
fn alert(html: &str) -> Option<String> {
    let (_, after) = html.split_once("role=\"alert\"")?;
    let (text, _) = after.split_once('>')?.1.split_once('<')?;
    Some(unescape(text.trim()))
}

fn unescape(text: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&"), ("&amp;", "&")]
        .into_iter()
        .fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::{alert, hidden};

    #[test]
    fn fields_and_errors_are_found() {
        let html = r#"<p role="alert" tabindex="-1">Wrong &amp; sad</p><input type="hidden" name="return_to" value="/a?b=1&#38;c=2">"#;
        assert_eq!(hidden(html, "return_to").as_deref(), Some("/a?b=1&c=2"));
        assert_eq!(hidden(html, "csrf"), None);
        assert_eq!(alert(html).as_deref(), Some("Wrong & sad"));
    }
}
