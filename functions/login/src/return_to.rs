//! Where a sign-in ends: one of our own pages, never anywhere else.

use url::form_urlencoded;

use crate::params::Params;

const AUTHORIZE: &str = "/oauth2/authorize?";
const ACCOUNT: &str = "/account";
/// A longer target is dropped, in bytes.
const MAX: usize = 8 * 1024;

/// A local path that is safe to redirect to.
#[derive(Debug, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// Accepts an authorization request or the account page; anything else becomes the account page.
    pub fn parse(text: Option<&str>) -> Self {
        let safe = |text: &&str| {
            let plain = text.len() <= MAX && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
            plain && text.starts_with(AUTHORIZE)
        };
        Self(text.filter(safe).unwrap_or(ACCOUNT).to_owned())
    }

    /// Back to an authorization request.
    pub fn authorize(query: &str) -> Self {
        Self(format!("{AUTHORIZE}{query}"))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The login page that leads here.
    pub fn login_page(&self) -> String {
        let encoded: String = form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        format!("/login?return_to={encoded}")
    }

    /// The authorization request's parameters, when it is one.
    pub fn request(&self) -> Option<Params> {
        self.0.strip_prefix(AUTHORIZE).map(|query| Params::parse(query.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::ReturnTo;

    #[test]
    fn only_our_own_pages_are_targets() {
        let parse = |text: &str| ReturnTo::parse(Some(text)).as_str().to_owned();
        assert_eq!(parse("/oauth2/authorize?client_id=a"), "/oauth2/authorize?client_id=a");
        for bad in [
            "https://evil.test",
            "//evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "/oauth2/authorize",
            "/oauth2/authorize?a\\b",
            "/oauth2/authorize?a\r\nSet-Cookie: x=y",
            "/oauth2/authorize/../../x?",
            "/account/../evil",
            "/accountevil",
            "/account@evil.test",
            "javascript:alert(1)",
            " /account",
            "",
        ] {
            assert_eq!(parse(bad), "/account", "{bad}");
        }
        assert_eq!(ReturnTo::parse(None).as_str(), "/account");
    }

    #[test]
    fn the_target_survives_the_login_page() {
        let page = ReturnTo::authorize("a=1&b=%2F").login_page();
        assert_eq!(page, "/login?return_to=%2Foauth2%2Fauthorize%3Fa%3D1%26b%3D%252F");
    }
}
