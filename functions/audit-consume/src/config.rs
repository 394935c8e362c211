//! What the environment has to say.

use echo_shared::config::{ConfigError, Env, Issuer};
use echo_shared::metric::Metrics;
use echo_shared::seal::MasterKey;

/// What the environment has to say.
pub struct Config {
    /// Whose logs these are.
    pub issuer: Issuer,
    /// Seals the keys that sign checkpoints.
    pub master_key: MasterKey,
    /// Which of them signs.
    pub key_number: u64,
    /// Entries, tiles, markers.
    pub log_table: String,
    /// Heads and keys.
    pub head_table: String,
    /// Where copies of checkpoints go.
    pub bucket: String,
    /// Whose metrics these are.
    pub stack: String,
}

impl Config {
    /// Reads `ECHO_ISSUER`, `ECHO_MASTER_KEY` (base64 of 32 bytes), `AUDIT_KEY` (a number from 1 to 999,999),
    /// `AUDIT_LOG_TABLE`, `AUDIT_HEAD_TABLE`, `AUDIT_CHECKPOINT_BUCKET` and `ECHO_STACK`.
    ///
    /// # Errors
    /// Names every setting that is missing or wrong.
    pub fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        let (issuer, master_key, key_number, tables, bucket, stack) = env.read(|env| {
            let tables = (env.text("AUDIT_LOG_TABLE"), env.text("AUDIT_HEAD_TABLE"));
            let master_key = env.parsed_secret("ECHO_MASTER_KEY", MasterKey::parse);
            let key_number = env.number("AUDIT_KEY", 1..=999_999);
            (env.issuer(), master_key, key_number, tables, env.text("AUDIT_CHECKPOINT_BUCKET"), Metrics::stack(env))
        })?;
        // `read` has refused a configuration without it.
        let none = || ConfigError { missing: vec!["ECHO_MASTER_KEY"], invalid: Vec::new() };
        let master_key = master_key.ok_or_else(none)?;
        Ok(Self { issuer, master_key, key_number, log_table: tables.0, head_table: tables.1, bucket, stack })
    }
}
