//! Cookies with the `__Host-` prefix.

use http::HeaderMap;
use http::header::COOKIE;

use crate::config::Issuer;

/// The full name of a cookie: prefixed, unless the issuer is http on loopback, where browsers refuse the prefix.
pub fn name(issuer: &Issuer, name: &str) -> String {
    if issuer.is_https() { format!("__Host-{name}") } else { name.into() }
}

/// A `Set-Cookie` value: HttpOnly, SameSite=Lax, for the whole host; kept for `max_age` seconds, 0 to remove it.
pub fn set(issuer: &Issuer, cookie: &str, value: &str, max_age: i64) -> String {
    let secure = if issuer.is_https() { "; Secure" } else { "" };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}", name(issuer, cookie))
}

/// The value of a cookie. Two cookies of one name are refused: one of them was planted.
pub fn get<'a>(issuer: &Issuer, headers: &'a HeaderMap, cookie: &str) -> Option<&'a str> {
    let name = name(issuer, cookie);
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(';'));
    let mut found = pairs.filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    });
    match (found.next(), found.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::COOKIE;

    use super::{get, set};
    use crate::config::Issuer;

    #[test]
    fn the_prefix_is_dropped_on_loopback_only() {
        let public = Issuer::parse("https://echo.test").unwrap();
        assert_eq!(set(&public, "s", "v", 9), "__Host-s=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=9; Secure");
        let local = Issuer::parse("http://localhost:9000").unwrap();
        assert_eq!(set(&local, "s", "v", 9), "s=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=9");
    }

    #[test]
    fn a_doubled_cookie_counts_as_none() {
        let local = Issuer::parse("http://localhost:9000").unwrap();
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; s=v".parse().unwrap());
        assert_eq!(get(&local, &headers, "s"), Some("v"));
        assert_eq!(get(&local, &headers, "t"), None);
        headers.append(COOKIE, "s=w".parse().unwrap());
        assert_eq!(get(&local, &headers, "s"), None);
    }
}
