//! What each org wants: how long lines are kept, which attributes are hidden, whether traces are posted.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::line::Severity;
use crate::config::Env;

/// How long lines are kept when nobody says: days.
const DAYS: u32 = 30;
/// The longest that can be asked for: ten years.
pub const MAX_DAYS: u32 = 3_660;

/// The settings of all orgs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Of orgs that are not named.
    default: Org,
    /// By org.
    orgs: BTreeMap<String, Org>,
}

/// The settings of an org.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Org {
    /// Days that lines are kept, 30 when not said.
    days: u32,
    /// The same for single severities, by OTLP's short names.
    days_by_severity: BTreeMap<String, u32>,
    /// Attributes whose values are hidden, besides those that always are: whole names, or what stands behind their last
    /// dot; in any case, with or without `-`, `_` and `.`.
    pub redact: Vec<String>,
    /// Whether the blocks of a trace can be looked up at once; otherwise they are searched for by headers.
    pub trace_postings: bool,
}

impl Default for Org {
    fn default() -> Self {
        Self { days: DAYS, days_by_severity: BTreeMap::new(), redact: Vec::new(), trace_postings: true }
    }
}

impl Org {
    /// Days that a line is kept.
    pub fn days(&self, severity: Severity) -> u32 {
        self.days_by_severity.get(severity.name()).copied().unwrap_or(self.days)
    }

    fn check(&self) -> Result<(), String> {
        let unknown =
            self.days_by_severity.keys().find(|name| !Severity::ALL.iter().any(|known| known.name() == **name));
        if let Some(name) = unknown {
            return Err(format!("`{name}` is no severity; use TRACE, DEBUG, INFO, WARN, ERROR, FATAL or UNSPECIFIED"));
        }
        let days = self.days_by_severity.values().chain([&self.days]);
        match days.copied().find(|days| !(1..=MAX_DAYS).contains(days)) {
            Some(days) => Err(format!("{days} days; lines are kept for 1 to {MAX_DAYS}")),
            None => Ok(()),
        }
    }
}

impl Settings {
    /// Reads `LOG_SETTINGS`, which may be absent: JSON such as `{"default": {"days": 14}, "orgs": {"acme": {"redact":
    /// ["ssn"], "days_by_severity": {"DEBUG": 3}}}}`.
    pub fn read(env: &mut Env<'_>) -> Self {
        env.optional_parsed("LOG_SETTINGS", Self::parse).unwrap_or_default()
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        settings.orgs.values().chain([&settings.default]).try_for_each(Org::check)?;
        Ok(settings)
    }

    /// The settings of an org.
    pub fn of(&self, org: &str) -> &Org {
        self.orgs.get(org).unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::log::line::Severity;

    #[test]
    fn an_org_has_its_own_settings_or_the_default() {
        let settings = Settings::parse(
            r#"{"default": {"days": 14}, "orgs": {"acme": {"days_by_severity": {"DEBUG": 3}, "redact": ["ssn"]}}}"#,
        );
        let settings = settings.unwrap();
        assert_eq!(settings.of("other").days(Severity::Debug), 14);
        let acme = settings.of("acme");
        assert_eq!((acme.days(Severity::Debug), acme.days(Severity::Info)), (3, 30));
        assert!(acme.trace_postings && acme.redact == ["ssn"]);
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for bad in [
            "",
            "1",
            r#"{"defaults": {}}"#,
            r#"{"default": {"days": 0}}"#,
            r#"{"default": {"days": 4000}}"#,
            r#"{"orgs": {"a": {"days_by_severity": {"WARNING": 1}}}}"#,
            r#"{"orgs": {"a": {"days_by_severity": {"WARN": 0}}}}"#,
        ] {
            assert!(Settings::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Settings::parse("{}"), Ok(Settings::default()));
    }
}
