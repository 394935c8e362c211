//! What a caller wants to see.

use echo_shared::clock::sortable;
use echo_shared::event::MAX_NAME;
use echo_shared::http::Problem;
use http::StatusCode;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The query parameters as they came.
#[derive(Debug, Default, Deserialize)]
pub struct FilterQuery {
    actor: Option<String>,
    action: Option<String>,
    resource: Option<String>,
    outcome: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// The query parameters, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Filter {
    /// Attributes of the stored item that must be equal, by name.
    pub equals: Vec<(&'static str, String)>,
    /// The earliest time, inclusive, in the form of the sort key.
    pub from: String,
    /// The latest time, exclusive: sort keys go on after their time, so one of exactly this time sorts behind it.
    pub to: String,
}

impl Filter {
    /// Whether a list under this filter can go on after the sort key `cursor`.
    ///
    /// # Errors
    /// 400 when the cursor is from another list; DynamoDB would refuse it.
    pub fn check_cursor(&self, cursor: &str) -> Result<(), Problem> {
        if (self.from.as_str()..=self.to.as_str()).contains(&cursor) {
            return Ok(());
        }
        Err(invalid("`cursor` is not of this list; keep `from` and `to` as they were"))
    }
}

impl FilterQuery {
    /// Checks the parameters.
    ///
    /// # Errors
    /// 400 that names the first parameter that is wrong.
    pub fn parse(self) -> Result<Filter, Problem> {
        if self.outcome.as_ref().is_some_and(|word| !["success", "failure", "denied"].contains(&word.as_str())) {
            return Err(invalid("`outcome` must be success, failure or denied"));
        }
        if self.resource.as_ref().is_some_and(|resource| !resource.contains('/')) {
            return Err(invalid("`resource` must read Type/id"));
        }
        let pairs =
            [("actor", self.actor), ("action", self.action), ("resource", self.resource), ("outcome", self.outcome)];
        let equals: Vec<_> = pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        if let Some((name, _)) = equals.iter().find(|(_, value)| value.is_empty() || value.len() > 2 * MAX_NAME + 1) {
            return Err(invalid(&format!("`{name}` is empty or too long")));
        }
        // Every sort key starts with a digit and lies between these two.
        let from = time("from", self.from)?.unwrap_or_else(|| "0".into());
        let to = time("to", self.to)?.unwrap_or_else(|| "~".into());
        if from > to {
            return Err(invalid("`from` must not lie after `to`"));
        }
        Ok(Filter { equals, from, to })
    }
}

fn time(name: &str, value: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = value else { return Ok(None) };
    let time = OffsetDateTime::parse(&text, &Rfc3339);
    time.map(|time| Some(sortable(time))).map_err(|_| {
        invalid(&format!("`{name}` must be an RFC 3339 time such as 2026-01-31T12:00:00Z (a `+` is written %2B)"))
    })
}

fn invalid(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail)
}

#[cfg(test)]
mod tests {
    use super::FilterQuery;

    #[test]
    fn good_filters_become_attributes_and_sort_keys() {
        let query = FilterQuery {
            action: Some("logout".into()),
            from: Some("2026-01-01T01:00:00+01:00".into()),
            ..Default::default()
        };
        let filter = query.parse().unwrap();
        assert_eq!(filter.equals, [("action", "logout".to_owned())]);
        assert_eq!(filter.from, "2026-01-01T00:00:00.000000Z");
        assert!(filter.check_cursor("2026-01-01T00:00:01.000000Z#/login#1").is_ok());
        assert!(filter.check_cursor("2025-12-31T00:00:01.000000Z#/login#1").is_err());
    }

    #[test]
    fn bad_filters_are_refused() {
        let bad = [
            FilterQuery { outcome: Some("maybe".into()), ..Default::default() },
            FilterQuery { resource: Some("Document".into()), ..Default::default() },
            FilterQuery { from: Some("yesterday".into()), ..Default::default() },
            FilterQuery { actor: Some(String::new()), ..Default::default() },
            FilterQuery {
                from: Some("2026-01-02T00:00:00Z".into()),
                to: Some("2026-01-01T00:00:00Z".into()),
                ..Default::default()
            },
        ];
        for query in bad {
            assert!(query.parse().is_err());
        }
    }
}
