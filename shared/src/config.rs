//! Configuration, read once at start: the one place that reads the environment.

use std::fmt;
use std::ops::RangeInclusive;

use http::Uri;
use serde::Deserialize;
use url::Url;

use crate::secret::Secret;

type Getter<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Reads settings and remembers everything that is wrong, so that one error names it all.
pub struct Env<'a> {
    get: Box<Getter<'a>>,
    missing: Vec<&'static str>,
    invalid: Vec<String>,
}

/// The configuration cannot be used. Names every setting that is missing or wrong, never a value.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.describe())]
pub struct ConfigError {
    /// Keys that are not set, or are empty.
    pub missing: Vec<&'static str>,
    /// Keys that are set to something unusable, with the reason.
    pub invalid: Vec<String>,
}

impl ConfigError {
    /// Both parts, or everything that is wrong with either.
    ///
    /// # Errors
    /// When either part is one.
    pub fn join<A, B>(first: Result<A, Self>, second: Result<B, Self>) -> Result<(A, B), Self> {
        match (first, second) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            (Err(mut error), Err(more)) => {
                error.missing.extend(more.missing);
                error.invalid.extend(more.invalid);
                Err(error)
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        }
    }

    fn describe(&self) -> String {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("set {}", self.missing.join(", ")));
        }
        if !self.invalid.is_empty() {
            parts.push(format!("correct {}", self.invalid.join("; ")));
        }
        format!("configuration is incomplete: {}", parts.join("; "))
    }
}

impl Env<'static> {
    /// The process environment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn process() -> Self {
        Self::from_fn(|key| std::env::var(key).ok())
    }
}

impl<'a> Env<'a> {
    /// Settings from anywhere: tests use a map.
    pub fn from_fn(get: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Self { get: Box::new(get), missing: Vec::new(), invalid: Vec::new() }
    }

    /// Builds a configuration with `read`.
    ///
    /// # Errors
    /// When any setting that `read` asked for is missing or invalid.
    pub fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> Result<T, ConfigError> {
        let config = read(&mut self);
        if self.missing.is_empty() && self.invalid.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { missing: self.missing, invalid: self.invalid })
        }
    }

    /// A setting that may be absent.
    pub fn optional(&self, key: &str) -> Option<String> {
        (self.get)(key).filter(|value| !value.is_empty())
    }

    /// A setting that must be there.
    pub fn text(&mut self, key: &'static str) -> String {
        self.optional(key).unwrap_or_else(|| {
            self.missing.push(key);
            String::new()
        })
    }

    /// A whole number within `range`, which must be there.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> u64 {
        let text = self.text(key);
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ if text.is_empty() => 0,
            _ => {
                self.invalid.push(format!("{key} (it must be a number from {} to {})", range.start(), range.end()));
                0
            }
        }
    }

    /// The URL of a service, which must be there.
    pub fn url(&mut self, key: &'static str) -> String {
        let text = self.text(key);
        if !text.is_empty() {
            self.check_url(key, &text);
        }
        text
    }

    /// A value in a form of its own, which may be absent.
    pub fn optional_parsed<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(&self.optional(key)?).map_err(|error| self.invalid.push(format!("{key} ({error})"))).ok()
    }

    /// The URL of a service, which may be absent.
    pub fn optional_url(&mut self, key: &str) -> Option<String> {
        let text = self.optional(key)?;
        self.check_url(key, &text);
        Some(text)
    }

    fn check_url(&mut self, key: &str, text: &str) {
        let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        if !text.parse().is_ok_and(|uri| is_http(&uri)) {
            self.invalid.push(format!("{key} (it must be a URL with http or https)"));
        }
    }

    /// A secret that must be there and that `parse` understands; none where it is missing or malformed.
    pub fn parsed_secret<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Secret) -> Result<T, E>,
    ) -> Option<T> {
        let secret = self.secret(key);
        if secret.expose().is_empty() {
            return None;
        }
        parse(&secret).map_err(|error| self.invalid.push(format!("{key} ({error})"))).ok()
    }

    /// A secret that must be there.
    pub fn secret(&mut self, key: &'static str) -> Secret {
        Secret::new(self.text(key))
    }

    /// The content of the file that an optional setting names; `is_valid` says whether it can be used.
    pub fn file(&mut self, key: &'static str, is_valid: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let path = self.optional(key)?;
        let reason = match std::fs::read(&path) {
            Ok(content) if is_valid(&content) => return Some(content),
            Ok(_) => "is not what it should be".to_owned(),
            Err(error) => error.to_string(),
        };
        self.invalid.push(format!("{key} ({path}: {reason})"));
        None
    }

    /// The issuer, under `ECHO_ISSUER`.
    pub fn issuer(&mut self) -> Issuer {
        let text = self.text("ECHO_ISSUER");
        if text.is_empty() {
            return Issuer(text);
        }
        Issuer::parse(&text).unwrap_or_else(|reason| {
            self.invalid.push(format!("ECHO_ISSUER ({reason})"));
            Issuer(text)
        })
    }
}

/// The public base URL of this Echo: OpenID Connect's issuer identifier, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Issuer(String);

impl Issuer {
    /// Accepts https, and http on loopback only; no query, fragment or trailing slash (OpenID Connect Discovery 1.0
    /// section 3).
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| "it is no URL".to_owned())?;
        let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err("use https; http is accepted on loopback only".into()),
        }
        if url.query().is_some() || url.fragment().is_some() || text.ends_with('/') {
            return Err("leave out query, fragment and the slash at the end".into());
        }
        Ok(Self(text.to_owned()))
    }

    /// The issuer as it stands in tokens.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An absolute URL below the issuer; `path` starts with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether cookies may carry `Secure` and the `__Host-` prefix.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Scheme, host and port, as a browser's `Origin` header names them (RFC 6454).
    pub fn origin(&self) -> String {
        Url::parse(&self.0).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Env, Issuer};

    #[test]
    fn all_missing_settings_are_named_at_once() {
        let error = Env::from_fn(|_| None)
            .read(|env| (env.text("LOGIN_TABLE"), env.issuer(), env.secret("ECHO_MASTER_KEY")))
            .expect_err("nothing is set");
        assert_eq!(error.missing, ["LOGIN_TABLE", "ECHO_ISSUER", "ECHO_MASTER_KEY"]);
    }

    #[test]
    fn http_is_for_loopback_only() {
        for good in ["https://echo.example", "http://localhost:9000", "http://127.0.0.1:1", "https://a.b/base"] {
            assert!(Issuer::parse(good).is_ok(), "{good}");
        }
        for bad in ["http://echo.example", "http://localhost:9000/", "ftp://x", "https://a?b", "https://a#b", "a"] {
            assert!(Issuer::parse(bad).is_err(), "{bad}");
        }
    }
}
