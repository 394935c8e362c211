//! Which lines, and of which time.

use std::time::Duration;

use clap::Args;
use echo_shared::clock::sortable;
use echo_shared::log::key::unhex;
use echo_shared::log::line::Severity;
use time::OffsetDateTime;

use super::Parameters;

/// How far is looked back when nobody says.
const HOUR: Duration = Duration::from_secs(3_600);
/// The longest span, in seconds: so long lines can be kept.
const MAX_SPAN: u64 = 3_660 * 86_400;

/// Which lines.
#[derive(Args)]
pub struct Filters {
    /// Only this service's
    #[arg(long)]
    service: Option<String>,
    /// Only lines at least this severe: trace, debug, info, warn, error or fatal
    #[arg(long, value_parser = severity)]
    severity: Option<Severity>,
    /// Only lines of this trace: 32 hexadecimal digits
    #[arg(long = "trace", value_name = "ID", value_parser = id::<16>)]
    trace_id: Option<String>,
    /// Only lines of this span: 16 hexadecimal digits
    #[arg(long = "span", value_name = "ID", value_parser = id::<8>)]
    span_id: Option<String>,
    /// Only lines with this attribute; may be said more than once
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = attribute)]
    attributes: Vec<String>,
    /// Only lines with this text in the body or in an attribute, in upper or lower case
    #[arg(long)]
    text: Option<String>,
}

/// Lines of which time.
#[derive(Args)]
pub struct Range {
    /// Only the last so long, such as 30s, 15m, 2h or 7d [default: 1h]
    #[arg(long, value_parser = span, conflicts_with_all = ["from", "to"])]
    since: Option<Duration>,
    /// Only from this RFC 3339 time on [default: an hour before --to]
    #[arg(long)]
    from: Option<String>,
    /// Only before this RFC 3339 time [default: now]
    #[arg(long)]
    to: Option<String>,
}

impl Filters {
    /// As query parameters.
    pub fn parameters(&self) -> Parameters {
        let single = [
            ("service", self.service.clone()),
            ("severity", self.severity.map(|severity| severity.name().to_owned())),
            ("trace_id", self.trace_id.clone()),
            ("span_id", self.span_id.clone()),
            ("text", self.text.clone()),
        ];
        let single = single.into_iter().filter_map(|(name, value)| Some((name, value?)));
        single.chain(self.attributes.iter().map(|attribute| ("attribute", attribute.clone()))).collect()
    }
}

impl Range {
    /// As query parameters. The beginning is named here, since the server's own would move from page to page.
    pub fn parameters(&self, now: OffsetDateTime) -> Parameters {
        let from = match (&self.from, &self.to) {
            (None, None) => Some(sortable(now - self.since.unwrap_or(HOUR))),
            (from, _) => from.clone(),
        };
        let ends = [("from", from), ("to", self.to.clone())];
        ends.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Reads a span of time, such as `15m`.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no span of time; say, for example, 30s, 15m, 2h or 7d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match u64::from(number) * seconds {
        seconds @ 1..=MAX_SPAN => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

/// Reads a severity's name.
pub fn severity(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| "say trace, debug, info, warn, error or fatal".into())
}

/// Reads an id of `N` bytes in hexadecimal digits.
pub fn id<const N: usize>(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    match unhex::<N>(&lower) {
        Some(_) => Ok(lower),
        None => Err(format!("it has {} hexadecimal digits", 2 * N)),
    }
}

fn attribute(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("write it as key=value".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{Args, Command};
    use time::macros::datetime;

    use super::{Filters, Range, Severity, id, severity, span};

    /// Arguments as they come from a shell.
    fn given<T: Args>(arguments: &[&str]) -> Result<T, clap::Error> {
        let command = T::augment_args(Command::new("test").no_binary_name(true));
        T::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    fn range(arguments: &[&str]) -> Vec<String> {
        let parameters = given::<Range>(arguments).unwrap().parameters(datetime!(2026-01-31 12:00 UTC));
        parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn spans_have_a_number_and_a_unit() {
        let seconds = |text: &str| span(text).ok().map(|span| span.as_secs());
        assert_eq!(["30s", "15m", "2h", "7d"].map(seconds), [Some(30), Some(900), Some(7_200), Some(604_800)]);
        for bad in ["", "m", "5", "0s", "-1m", "1.5h", "1w", "1M", "5ä", "3661d", "4294967295d", "99999999999s"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(span("1h"), Ok(Duration::from_secs(3_600)));
    }

    #[test]
    fn the_beginning_is_fixed() {
        assert_eq!(range(&[]), ["from=2026-01-31T11:00:00.000000Z"]);
        assert_eq!(range(&["--since", "2d"]), ["from=2026-01-29T12:00:00.000000Z"]);
        assert_eq!(range(&["--from", "a", "--to", "b"]), ["from=a", "to=b"]);
        assert_eq!(range(&["--to", "b"]), ["to=b"]);
        assert!(given::<Range>(&["--since", "1h", "--to", "b"]).is_err());
    }

    #[test]
    fn filters_become_parameters() {
        let trace = "4BF92F3577B34DA6A3CE929D0E0E4736";
        let arguments = ["--service", "web", "--severity", "warn", "--trace", trace, "--span", "00f067aa0ba902b7"];
        let more = ["--attribute", "a=1", "--attribute", "b=x=y", "--text", "Oops"];
        let filters: Filters = given(&[&arguments[..], &more[..]].concat()).unwrap();
        let expected = [
            ("service", "web"),
            ("severity", "WARN"),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("span_id", "00f067aa0ba902b7"),
            ("text", "Oops"),
            ("attribute", "a=1"),
            ("attribute", "b=x=y"),
        ];
        assert_eq!(filters.parameters(), expected.map(|(name, value)| (name, value.to_owned())));
        assert!(given::<Filters>(&[]).unwrap().parameters().is_empty());
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for bad in [["--attribute", "a"], ["--attribute", "=a"], ["--severity", "loud"], ["--trace", "4bf9"]] {
            assert!(given::<Filters>(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(severity("Error"), Ok(Severity::Error));
        assert!(id::<8>("00f067aa0ba902bg").is_err());
    }
}
