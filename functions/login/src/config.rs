//! What the environment has to say.

use std::collections::BTreeMap;

use echo_shared::config::{ConfigError, Env, Issuer};
use echo_shared::event::Queue;
use echo_shared::metric::Metrics;
use echo_shared::queue::Publisher;

use echo_shared::seal::MasterKey;

/// What the environment has to say.
pub struct Config {
    /// The public base URL; `iss` of every token.
    pub issuer: Issuer,
    /// Seals the signing keys at rest.
    pub master_key: MasterKey,
    /// The function's own table.
    pub login_table: String,
    /// Events on their way.
    pub outbox_table: String,
    /// Where events go.
    pub queue_urls: BTreeMap<Queue, String>,
    /// Whose metrics these are.
    pub stack: String,
}

impl Config {
    /// Reads `ECHO_ISSUER`, `ECHO_MASTER_KEY` (base64 of 32 bytes), `LOGIN_TABLE`, `OUTBOX_TABLE`,
    /// `AUDIT_QUEUE_URL` and `ECHO_STACK`.
    ///
    /// # Errors
    /// Names every setting that is missing or wrong.
    pub fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        let (issuer, master_key, tables, queue_urls, stack) = env.read(|env| {
            let tables = (env.text("LOGIN_TABLE"), env.text("OUTBOX_TABLE"));
            let master_key = env.parsed_secret("ECHO_MASTER_KEY", MasterKey::parse);
            (env.issuer(), master_key, tables, Publisher::queue_urls(env, [Queue::Audit]), Metrics::stack(env))
        })?;
        // `read` has refused a configuration without it.
        let none = || ConfigError { missing: vec!["ECHO_MASTER_KEY"], invalid: Vec::new() };
        let master_key = master_key.ok_or_else(none)?;
        Ok(Self { issuer, master_key, login_table: tables.0, outbox_table: tables.1, queue_urls, stack })
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::config::Env;

    use super::Config;

    fn read(master_key: &str) -> Result<Config, String> {
        let get = |key: &str| match key {
            "ECHO_ISSUER" => Some("http://localhost:9000".to_owned()),
            "ECHO_MASTER_KEY" => Some(master_key.to_owned()),
            "AUDIT_QUEUE_URL" => Some("http://localhost/q".to_owned()),
            _ => Some("x".to_owned()),
        };
        Config::from_env(Env::from_fn(get)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_master_key_must_have_32_bytes() {
        assert!(read("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").is_ok());
        for bad in ["", "AAAA", "not base64 at all"] {
            let error = read(bad).err().expect("it is no key");
            assert!(error.contains("ECHO_MASTER_KEY"), "{error}");
        }
    }

    #[test]
    fn one_error_names_what_is_missing_and_what_is_malformed() {
        let get = |key: &str| match key {
            "ECHO_ISSUER" => Some("http://echo.example".to_owned()),
            "ECHO_MASTER_KEY" => Some("AAAA".to_owned()),
            "AUDIT_QUEUE_URL" => Some("audit".to_owned()),
            _ => None,
        };
        let error = Config::from_env(Env::from_fn(get)).err().expect("nothing of it is right");
        assert_eq!(error.missing, ["LOGIN_TABLE", "OUTBOX_TABLE", "ECHO_STACK"]);
        let named: Vec<_> = error.invalid.iter().map(|text| text.split(' ').next().unwrap()).collect();
        assert_eq!(named, ["ECHO_MASTER_KEY", "ECHO_ISSUER", "AUDIT_QUEUE_URL"]);
    }
}
