//! Which lines are wanted.

use std::ops::Range;

use echo_shared::log::header::Header;
use echo_shared::log::line::{Line, Severity, attribute};

use super::json::{any_text, text};

/// What all wanted lines have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Their times, nanoseconds since 1970.
    pub times: Range<u64>,
    /// Their service.
    pub service: Option<String>,
    /// They are at least so severe.
    pub severity: Severity,
    /// Their trace.
    pub trace: Option<[u8; 16]>,
    /// Their span.
    pub span: Option<[u8; 8]>,
    /// Attributes and their values as text.
    pub attributes: Vec<(String, String)>,
    /// What the body or an attribute contains, in lower case.
    pub text: Option<String>,
}

impl Filter {
    /// All lines of these times.
    pub(crate) fn all(times: Range<u64>) -> Self {
        let severity = Severity::Unspecified;
        Self { times, service: None, severity, trace: None, span: None, attributes: Vec::new(), text: None }
    }

    /// Whether a block may hold such lines.
    pub(crate) fn may_be_in(&self, header: &Header) -> bool {
        header.first < self.times.end
            && header.last >= self.times.start
            && header.has(self.service.as_deref(), self.severity)
            && self.trace.is_none_or(|id| header.may_hold(&id))
            && self.span.is_none_or(|id| header.may_hold(&id))
    }

    /// How many lines of a block are wanted, if all of their times are; 0 when only the lines themselves can tell.
    pub(crate) fn expected_in(&self, header: &Header) -> usize {
        if self.trace.is_some() || self.span.is_some() || !self.attributes.is_empty() || self.text.is_some() {
            return 0;
        }
        let wanted = header.kinds().filter(|(service, severity, ..)| self.is_kind(service, *severity));
        wanted.map(|(.., lines)| lines as usize).sum()
    }

    /// Whether lines of this service and severity are wanted.
    pub(crate) fn is_kind(&self, service: &str, severity: Severity) -> bool {
        self.service.as_ref().is_none_or(|wanted| wanted == service) && severity >= self.severity
    }

    /// Whether a line is wanted.
    pub(crate) fn fits(&self, line: &Line<'_>) -> bool {
        self.times.contains(&line.time())
            && self.is_kind(line.service(), line.severity())
            && self.trace.is_none_or(|id| line.trace_id() == Some(id))
            && self.span.is_none_or(|id| line.span_id() == Some(id))
            && self.attributes.iter().all(|(key, value)| has(line, key, value))
            && self.text.as_ref().is_none_or(|text| contains(line, text))
    }
}

/// Whether an attribute has this value. The line's own attributes hide those of its resource.
fn has(line: &Line<'_>, key: &str, value: &str) -> bool {
    let of_resource = || attribute(line.resource.map(|resource| resource.attributes.as_slice())?, key);
    attribute(&line.record.attributes, key).or_else(of_resource).is_some_and(|found| text(found) == value)
}

/// Whether the body or an attribute contains `wanted`. What describes the service is the same in every line of it.
fn contains(line: &Line<'_>, wanted: &str) -> bool {
    let values = line.record.attributes.iter().filter_map(|attribute| attribute.value.as_ref());
    line.record.body.iter().chain(values).any(|value| any_text(value, &|text| contains_lower(text, wanted)))
}

/// Whether `text` contains `wanted`, which is in lower case, in any case. The copy takes less time than comparing
/// without one at every place: `contains` never looks at a byte more than a few times.
fn contains_lower(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(wanted)
}

#[cfg(test)]
mod tests {
    use echo_shared::log::header::Header;
    use echo_shared::log::line::{Line, Severity, lines};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData};

    use super::super::memory::{attributes, logs, record};
    use super::{Filter, contains_lower};

    fn sample() -> LogsData {
        let fields = attributes(&[("user", "zoë"), ("service.name", "own")]);
        let record = LogRecord {
            severity_number: 17,
            trace_id: vec![7; 16],
            span_id: vec![8; 8],
            attributes: fields,
            ..record(100, "Payment FAILED")
        };
        let mut logs = logs("web", vec![record]);
        let resource = logs.resource_logs[0].resource.as_mut().unwrap();
        resource.attributes.extend(attributes(&[("host.name", "h1")]));
        logs
    }

    fn fits(change: impl FnOnce(&mut Filter)) -> bool {
        let logs = sample();
        let line: Line<'_> = lines(&logs).next().unwrap();
        let mut filter = Filter::all(100..101);
        change(&mut filter);
        let header = Header::of(&logs, 1, 1).unwrap();
        // A block is never passed over when a line of it is wanted.
        assert!(!filter.fits(&line) || filter.may_be_in(&header));
        filter.fits(&line)
    }

    #[test]
    fn every_condition_counts() {
        assert!(fits(|_| {}));
        assert!(!fits(|filter| filter.times = 101..200) && !fits(|filter| filter.times = 0..100));
        assert!(
            fits(|filter| filter.service = Some("web".into())) && !fits(|filter| filter.service = Some("we".into()))
        );
        assert!(fits(|filter| filter.severity = Severity::Error) && !fits(|filter| filter.severity = Severity::Fatal));
        assert!(fits(|filter| filter.trace = Some([7; 16])) && !fits(|filter| filter.trace = Some([8; 16])));
        assert!(fits(|filter| filter.span = Some([8; 8])) && !fits(|filter| filter.span = Some([7; 8])));
    }

    #[test]
    fn attributes_of_the_line_hide_those_of_its_resource() {
        let has = |key: &str, value: &str| fits(|filter| filter.attributes = vec![(key.into(), value.into())]);
        assert!(has("user", "zoë") && has("service.name", "own") && has("host.name", "h1"));
        assert!(!has("user", "Zoë") && !has("service.name", "web") && !has("other", ""));
    }

    #[test]
    fn text_is_found_in_body_and_attributes() {
        let has = |text: &str| fits(|filter| filter.text = Some(text.into()));
        assert!(has("payment failed") && has("ZOË".to_lowercase().as_str()));
        assert!(!has("web") && !has("h1") && !has("user"));
    }

    #[test]
    fn case_does_not_count() {
        assert!(
            contains_lower("ÄRGER", "ärger") && contains_lower("Error", "err") && contains_lower("\u{212a}g", "kg")
        );
        assert!(!contains_lower("abc", "ä") && !contains_lower("", "a") && !contains_lower("ab", "abc"));
    }

    #[test]
    fn lines_are_counted_when_headers_can_tell() {
        let header = Header::of(&sample(), 1, 1).unwrap();
        let mut filter = Filter::all(0..200);
        assert_eq!(filter.expected_in(&header), 1);
        filter.severity = Severity::Fatal;
        assert_eq!(filter.expected_in(&header), 0);
        assert_eq!(Filter { text: Some("x".into()), ..Filter::all(0..200) }.expected_in(&header), 0);
    }
}
