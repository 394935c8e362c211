//! Redirect URIs: which are accepted, and how an answer is put into one.

use url::{Host, Url, form_urlencoded};

/// Loopback redirects, whose port a native app chooses when it starts (RFC 8252 section 7.3).
const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// Whether `given` is one of the `registered` URIs: the same string, but for the port of a loopback address.
pub fn is_registered(registered: &[String], given: &str) -> bool {
    registered.iter().any(|known| {
        known == given
            || LOOPBACK.iter().any(|host| {
                let (known, given) = (behind_port(known, host), behind_port(given, host));
                known.is_some() && known == given
            })
    })
}

/// What follows `host` and an optional port in `uri`.
fn behind_port<'a>(uri: &'a str, host: &str) -> Option<&'a str> {
    let rest = uri.strip_prefix(host)?;
    let Some(port) = rest.strip_prefix(':') else {
        return (rest.is_empty() || rest.starts_with('/')).then_some(rest);
    };
    let end = port.find('/').unwrap_or(port.len());
    let (digits, path) = port.split_at_checked(end)?;
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    valid.then_some(path)
}

/// Why a URI may not be registered, if so: https, http on loopback, or an app's own scheme with a dot in it
/// (RFC 8252 section 7.1); no fragment, no credentials.
pub fn check_registration(uri: &str) -> Result<(), &'static str> {
    let url = Url::parse(uri).map_err(|_| "a redirect URI must be an absolute URI")?;
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) || uri.contains('\\') {
        return Err("a redirect URI must be plain ASCII without spaces");
    }
    if uri.contains('#') || !url.username().is_empty() || url.password().is_some() {
        return Err("a redirect URI must have neither fragment nor credentials");
    }
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        scheme if scheme.contains('.') => Ok(()),
        _ => Err("a redirect URI must use https, or http on loopback, or an app's own scheme"),
    }
}

/// `uri` with `parameters` behind those it has.
pub fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    if parameters.is_empty() {
        return uri.to_owned();
    }
    let separator = if uri.contains('?') { '&' } else { '?' };
    let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{uri}{separator}{encoded}")
}

/// The source expression that lets a form end at `uri` (Content Security Policy Level 3 section 2.3.1). Browsers
/// apply `form-action` to the redirects that follow a form. An IPv6 address or an app's scheme can only be named by
/// its scheme.
pub fn form_source(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok().filter(|url| !url.authority().contains([';', ',']))?;
    match url.host() {
        Some(Host::Domain(_) | Host::Ipv4(_)) if url.origin().is_tuple() => Some(url.origin().ascii_serialization()),
        _ => Some(format!("{}:", url.scheme())),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_registration, form_source, is_registered, with_parameters};

    #[test]
    fn only_the_exact_uri_or_another_loopback_port_is_registered() {
        let registered = ["https://app.test/cb", "http://127.0.0.1:8976/cb", "http://localhost:9000/cb"];
        let registered = registered.map(str::to_owned);
        for good in ["https://app.test/cb", "http://127.0.0.1:8976/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1/cb"]
        {
            assert!(is_registered(&registered, good), "{good}");
        }
        for bad in [
            "https://app.test/cb/",
            "https://app.test/cb?x=1",
            "https://app.test/CB",
            "https://app.test:443/cb",
            "https://app.test/cb#f",
            "https://app.test.evil.test/cb",
            "http://localhost:9001/cb",
            "http://127.0.0.1:8976/other",
            "http://127.0.0.1:8976@evil.test/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1.evil.test/cb",
            "http://127.0.0.1:/cb",
            "http://[::1]:8976/cb",
            "",
        ] {
            assert!(!is_registered(&registered, bad), "{bad}");
        }
    }

    #[test]
    fn dangerous_uris_cannot_be_registered() {
        for good in ["https://a.test/cb", "http://localhost:1/cb", "http://[::1]/cb", "com.example.app:/cb"] {
            assert!(check_registration(good).is_ok(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "http://a.test/cb",
            "https://a.test/#f",
            "/cb",
            "https://u:p@a.test/",
            "https://a.test/ b",
            "https://a.test\\b",
        ] {
            assert!(check_registration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_follow_those_that_are_there() {
        assert_eq!(with_parameters("https://a/cb", &[("state", "a&b c")]), "https://a/cb?state=a%26b+c");
        assert_eq!(with_parameters("https://a/cb?x=1", &[("iss", "i")]), "https://a/cb?x=1&iss=i");
    }

    #[test]
    fn a_form_may_end_at_the_redirects_origin() {
        assert_eq!(form_source("https://app.test/cb?x").as_deref(), Some("https://app.test"));
        assert_eq!(form_source("http://127.0.0.1:8976/cb").as_deref(), Some("http://127.0.0.1:8976"));
        assert_eq!(form_source("http://[::1]:8976/cb").as_deref(), Some("http:"));
        assert_eq!(form_source("com.example.app:/cb").as_deref(), Some("com.example.app:"));
    }
}
