//! Forged forms: a double-submitted token, and what browsers say about where a form comes from.

use axum::response::Response;
use echo_shared::config::Issuer;
use echo_shared::http::cookies;
use http::header::{ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::SESSION_SECONDS;
use crate::app::App;
use crate::digest::same;

const COOKIE: &str = "echo_csrf";
/// 32 bytes in base64url.
const TOKEN_LENGTH: usize = 43;

/// The token of a page that is about to be shown.
pub struct Csrf {
    /// For the form's hidden field.
    pub token: String,
    cookie: String,
}

impl Csrf {
    /// The token that the browser has, so that several tabs work side by side, or a new one.
    pub fn issue(app: &App, headers: &HeaderMap) -> Self {
        let token = known(&app.issuer, headers).map_or_else(|| app.entropy.token(), Into::into);
        Self { cookie: cookies::set(&app.issuer, COOKIE, &token, SESSION_SECONDS), token }
    }

    /// Gives the browser its half.
    pub fn attach(&self, mut response: Response) -> Response {
        if let Ok(cookie) = HeaderValue::try_from(&self.cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }
}

/// Whether a form with the token `field` comes from one of our own pages.
pub fn is_ours(issuer: &Issuer, headers: &HeaderMap, field: Option<&str>) -> bool {
    let token = known(issuer, headers).zip(field).is_some_and(|(cookie, field)| same(cookie, field));
    token && comes_from_us(issuer, headers)
}

fn known<'a>(issuer: &Issuer, headers: &'a HeaderMap) -> Option<&'a str> {
    cookies::get(issuer, headers, COOKIE).filter(|token| {
        token.len() == TOKEN_LENGTH
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

/// Checks `Origin` and `Sec-Fetch-Site` as far as the browser sends them. Under our own `Referrer-Policy: no-referrer`
/// browsers send `Origin: null` with forms (Fetch section 3.1); then `Sec-Fetch-Site` has to vouch for them.
fn comes_from_us(issuer: &Issuer, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let origin = match headers.get(ORIGIN).map(HeaderValue::as_bytes) {
        None => true,
        Some(b"null") => site == Some(b"same-origin"),
        Some(origin) => origin == issuer.origin().as_bytes(),
    };
    origin && matches!(site, None | Some(b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use echo_shared::config::Issuer;
    use http::HeaderMap;

    use super::is_ours;

    const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn ours(extra: &[(&'static str, &str)], field: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in extra {
            headers.append(*name, value.parse().unwrap());
        }
        is_ours(&Issuer::parse("https://echo.test").unwrap(), &headers, field)
    }

    #[test]
    fn cookie_and_field_must_be_the_same_token() {
        let cookie = ("cookie", &*format!("__Host-echo_csrf={TOKEN}"));
        assert!(ours(&[cookie], Some(TOKEN)));
        assert!(!ours(&[cookie], None) && !ours(&[], Some(TOKEN)) && !ours(&[cookie], Some("")));
        assert!(!ours(&[cookie, cookie], Some(TOKEN)), "one of two cookies was planted");
        assert!(!ours(&[("cookie", "__Host-echo_csrf=x")], Some("x")), "not a token we made");
    }

    #[test]
    fn foreign_forms_are_refused() {
        let cookie = ("cookie", &*format!("__Host-echo_csrf={TOKEN}"));
        let from = |origin: &'static str| ("origin", origin);
        let site = |site: &'static str| ("sec-fetch-site", site);
        assert!(ours(&[cookie, from("https://echo.test"), site("same-origin")], Some(TOKEN)));
        assert!(ours(&[cookie, from("null"), site("same-origin")], Some(TOKEN)));
        assert!(!ours(&[cookie, from("null")], Some(TOKEN)));
        for bad in [from("https://evil.test"), from("http://echo.test"), site("cross-site"), site("same-site")] {
            assert!(!ours(&[cookie, bad], Some(TOKEN)), "{bad:?}");
        }
    }
}
