//! What a caller wants to see.

use std::collections::BTreeMap;

use echo_shared::audit::chunk::key;
use echo_shared::clock::sortable;
use echo_shared::event::MAX_NAME;
use echo_shared::http::Problem;
use http::StatusCode;
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::store::Select;

/// The longest text to look for, in bytes.
const MAX_TEXT: usize = 256;

/// The query parameters as they came.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct FilterQuery {
    /// Not a filter: the one event whose entries are wanted. A path would lose what is special in it, since API
    /// Gateway hands paths over decoded.
    pub id: Option<String>,
    actor: Option<String>,
    action: Option<String>,
    resource: Option<String>,
    outcome: Option<String>,
    from: Option<String>,
    to: Option<String>,
    text: Option<String>,
}

/// The query parameters, checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// What was asked for, in one form: times in UTC, text in lower case. This is what an audited reading names.
    pub given: BTreeMap<&'static str, String>,
    /// The earliest time, inclusive, in the form of the sort key.
    pub from: String,
    /// The latest time, exclusive: sort keys go on after their time, so one of exactly this time sorts behind it.
    pub to: String,
}

impl Filter {
    /// The sort key that a list goes on from, downwards: everything below that of the entry it has ended with.
    ///
    /// # Errors
    /// 400 when the cursor is from another list.
    pub(crate) fn below(&self, cursor: &str) -> Result<String, Problem> {
        let inside = (self.from.as_str()..=self.to.as_str()).contains(&cursor);
        let place = cursor.rsplit_once('#').filter(|(_, index)| inside && index.len() == key::place(0).len());
        let before = place.and_then(|(time, index)| match index.parse::<u64>().ok()?.checked_sub(1) {
            Some(index) => Some(key::at(time, index)),
            None => Some(time.to_owned()),
        });
        before.ok_or_else(|| invalid("`cursor` is not of this list; keep `from` and `to` as they were"))
    }

    /// The text that entries must contain, in lower case.
    pub(crate) fn text(&self) -> Option<&str> {
        self.given.get("text").map(String::as_str)
    }

    /// The query of the index that leaves the least to be filtered out, newest first from `to` on.
    pub(crate) fn select(&self, org: &str, to: String) -> Select {
        let given = |name| self.given.get(name).map(String::as_str);
        let indexes = [("by_resource", "resource"), ("by_actor", "actor"), ("by_action", "action")];
        let mut equals = indexes.into_iter().filter_map(|(index, name)| Some((index, key::list(&[org, given(name)?]))));
        let (index, partition) = equals.next().unwrap_or_else(|| ("by_time", key::list(&[org])));
        let mut equals: Vec<_> = equals.collect();
        equals.extend(given("outcome").map(|outcome| ("outcome", outcome.to_owned())));
        let from = self.from.clone();
        Select { index: Some(index), partition, from, to, equals, descending: true, ..Select::default() }
    }
}

impl FilterQuery {
    /// Checks the parameters.
    ///
    /// # Errors
    /// 400 that names the first parameter that is wrong.
    pub(crate) fn parse(self) -> Result<Filter, Problem> {
        if self.outcome.as_ref().is_some_and(|word| !["success", "failure", "denied"].contains(&word.as_str())) {
            return Err(invalid("`outcome` must be success, failure or denied"));
        }
        if self.resource.as_ref().is_some_and(|resource| !resource.contains('/')) {
            return Err(invalid("`resource` must read Type/id"));
        }
        let text = text(self.text)?;
        if text.is_some() && (self.from.is_none() || self.to.is_none()) {
            return Err(invalid("`text` is looked for in a stretch of time; give `from` and `to` as well"));
        }
        let values =
            [("actor", self.actor), ("action", self.action), ("resource", self.resource), ("outcome", self.outcome)];
        if let Some((name, _)) = values.iter().find(|(_, value)| value.as_deref().is_some_and(is_no_value)) {
            return Err(invalid(&format!("`{name}` is empty or too long, or has control characters")));
        }
        let (from, to) = (time("from", self.from)?, time("to", self.to)?);
        let rest = [("from", from.clone()), ("to", to.clone()), ("text", text)];
        let given = values.into_iter().chain(rest).filter_map(|(name, value)| Some((name, value?))).collect();
        // Every sort key starts with a digit and lies between these two.
        let filter = Filter { given, from: from.unwrap_or_else(|| "0".into()), to: to.unwrap_or_else(|| "~".into()) };
        if filter.from > filter.to {
            return Err(invalid("`from` must not lie after `to`"));
        }
        Ok(filter)
    }
}

fn is_no_value(value: &str) -> bool {
    value.is_empty() || value.len() > 2 * MAX_NAME + 1 || value.chars().any(char::is_control)
}

fn text(value: Option<String>) -> Result<Option<String>, Problem> {
    match value {
        Some(text) if text.is_empty() || text.len() > MAX_TEXT => {
            Err(invalid(&format!("`text` must have 1 to {MAX_TEXT} bytes")))
        }
        value => Ok(value.map(|text| text.to_lowercase())),
    }
}

fn time(name: &str, value: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = value else { return Ok(None) };
    let time = OffsetDateTime::parse(&text, &Rfc3339).ok();
    // In UTC the first and the last year may become ones that RFC 3339 cannot write.
    let utc = time.and_then(|time| time.checked_to_offset(UtcOffset::UTC)).filter(|time| time.year() >= 0);
    utc.map(|time| Some(sortable(time))).ok_or_else(|| {
        invalid(&format!("`{name}` must be an RFC 3339 time such as 2026-01-31T12:00:00Z (a `+` is written %2B)"))
    })
}

pub(crate) fn invalid(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail)
}

#[cfg(test)]
mod tests {
    use super::{Filter, FilterQuery};

    const DAY: &str = "2026-01-01T00:00:00Z";
    const NEXT: &str = "2026-01-02T00:00:00Z";

    fn text(value: impl Into<String>) -> Option<String> {
        Some(value.into())
    }

    fn all() -> Filter {
        FilterQuery::default().parse().unwrap()
    }

    #[test]
    fn parameters_take_one_form() {
        let query = FilterQuery {
            action: text("logout"),
            from: text("2026-01-01T01:00:00+01:00"),
            to: text(NEXT),
            text: text("ZOË"),
            ..Default::default()
        };
        let filter = query.parse().unwrap();
        assert_eq!(filter.from, "2026-01-01T00:00:00.000000Z");
        assert_eq!(filter.text(), Some("zoë"));
        let given: Vec<_> = filter.given.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let times = ["from=2026-01-01T00:00:00.000000Z", "text=zoë", "to=2026-01-02T00:00:00.000000Z"];
        assert_eq!(given, [&["action=logout"][..], &times].concat());
        assert!(all().given.is_empty());
    }

    #[test]
    fn the_most_selective_index_is_used_and_the_rest_is_compared() {
        let query = |actor, action, resource: Option<String>| FilterQuery {
            actor,
            action,
            resource,
            outcome: text("denied"),
            ..Default::default()
        };
        let select = query(text("u"), text("a"), text("T/i")).parse().unwrap().select("o", "~".into());
        assert_eq!((select.index, select.partition.as_str()), (Some("by_resource"), r#"["o","T/i"]"#));
        let rest = [("by_actor", r#"["o","u"]"#), ("by_action", r#"["o","a"]"#), ("outcome", "denied")];
        assert_eq!(select.equals, rest.map(|(name, value)| (name, value.to_owned())));
        let index = |query: FilterQuery| query.parse().unwrap().select("o", "~".into()).index.unwrap();
        assert_eq!(index(query(text("u"), text("a"), None)), "by_actor");
        assert_eq!(index(query(None, text("a"), None)), "by_action");
        assert_eq!(index(query(None, None, None)), "by_time");
        assert_eq!(all().select("o", "~".into()).partition, r#"["o"]"#);
    }

    #[test]
    fn a_list_goes_on_below_its_cursor() {
        let at = |index| format!("2026-01-01T00:00:01.000000Z#{index:019}");
        assert_eq!(all().below(&at(7)).unwrap(), at(6));
        assert_eq!(all().below(&at(0)).unwrap(), "2026-01-01T00:00:01.000000Z");
        let later = FilterQuery { from: text(NEXT), ..Default::default() }.parse().unwrap();
        for bad in ["", "#", "2026#1", "2026-01-01T00:00:01.000000Z#/login#1", "2026#00000000000000000-1", "~~"] {
            assert!(all().below(bad).is_err(), "{bad}");
        }
        assert!(later.below(&at(7)).is_err());
    }

    #[test]
    fn bad_filters_are_refused() {
        let none = FilterQuery::default;
        let bad = [
            FilterQuery { outcome: text("maybe"), ..none() },
            FilterQuery { resource: text("Document"), ..none() },
            FilterQuery { from: text("yesterday"), ..none() },
            FilterQuery { to: text("9999-12-31T23:59:59-01:00"), ..none() },
            FilterQuery { from: text("0000-01-01T00:00:00+01:00"), ..none() },
            FilterQuery { actor: text(""), ..none() },
            FilterQuery { actor: text("a\u{1}"), ..none() },
            FilterQuery { action: text("x".repeat(514)), ..none() },
            FilterQuery { from: text(NEXT), to: text(DAY), ..none() },
            FilterQuery { text: text("x"), from: text(DAY), ..none() },
            FilterQuery { text: text("x"), to: text(DAY), ..none() },
            FilterQuery { text: text(""), from: text(DAY), to: text(NEXT), ..none() },
            FilterQuery { text: text("x".repeat(257)), from: text(DAY), to: text(NEXT), ..none() },
        ];
        for query in bad {
            let shown = format!("{query:?}");
            assert!(query.parse().is_err(), "{shown}");
        }
    }
}
