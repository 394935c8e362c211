//! `echoctl logs trace`.

use clap::Args;
use echo_shared::clock::sortable;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, SignedDuration};

use super::filter::id;
use super::pages::{Found, Search, all_sound};
use super::query::PAGE;
use super::render::{Colours, Look, Style, join, line, pair, text, time};
use super::{SCOPE, put};
use crate::session::{Denied, Reader};
use crate::show::plain;
use crate::{Failure, audit};

/// The most lines, and the most audit entries, of a story.
const MOST: usize = 10_000;
/// Lines of one page: the most that the server answers of a trace.
const LINES: usize = 1_000;
/// Audit entries are looked for so long before the first line and after the last.
const MARGIN: SignedDuration = SignedDuration::minutes(5);

/// Tell the story of a request: the lines of its trace and the audit entries of the same trace, the oldest first.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 done, 1 could not tell, 2 blocks are damaged and their lines missing")]
pub struct Trace {
    /// The trace id, 32 hexadecimal digits
    #[arg(value_parser = id::<16>)]
    id: String,
    #[command(flatten)]
    reader: Reader,
    #[command(flatten)]
    colours: Colours,
    /// Print a JSON object a line, with the one member `log` or `audit`
    #[arg(long)]
    json: bool,
}

/// A part of a story.
#[derive(Debug, PartialEq)]
enum Part<'a> {
    /// A log line.
    Line(&'a Value),
    /// An audit entry.
    Entry(&'a Value),
}

impl Trace {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let path = format!("/logs/v1/traces/{}", self.id);
        let search = Search { path, parameters: Vec::new(), most: MOST, page: LINES };
        let found = search.run(&mut self.reader.open(SCOPE).await?).await?;
        let Some(window) = window(&found.items) else {
            all_sound(&found.damaged)?;
            return Err("there is no line of this trace".into());
        };
        let entries = match self.entries(window).await {
            Err(error) if error.is::<Denied>() => {
                eprintln!("echoctl: without audit entries, which need the scope {}: {error}", audit::SCOPE);
                Vec::new()
            }
            entries => entries?,
        };
        self.print(&merge(&found.items, &entries))?;
        self.say_what_is_missing(&found);
        all_sound(&found.damaged)
    }

    /// The audit entries of the trace, the newest first.
    async fn entries(&self, (from, to): (OffsetDateTime, OffsetDateTime)) -> Result<Vec<Value>, Failure> {
        let mut session = self.reader.open(audit::SCOPE).await?;
        let parameters = vec![("text", self.id.clone()), ("from", sortable(from)), ("to", sortable(to))];
        let search = Search { path: "/audit/v1/events".into(), parameters, most: MOST, page: PAGE };
        let found = search.run(&mut session).await?;
        if found.more {
            eprintln!("echoctl: there may be more audit entries than are shown");
        }
        // The text may stand in other entries, too.
        let of_trace = |entry: &Value| entry.get("trace_id").and_then(Value::as_str) == Some(self.id.as_str());
        Ok(found.items.into_iter().filter(of_trace).collect())
    }

    fn print(&self, story: &[Part<'_>]) -> Result<(), Failure> {
        let style = self.colours.style();
        story.iter().try_for_each(|part| put(&if self.json { part.json().to_string() } else { part.shown(style) }))
    }

    fn say_what_is_missing(&self, found: &Found) {
        match &found.scanned_to {
            Some(time) => eprintln!("echoctl: the read budget ended the search, which looked up to {}", plain(time)),
            None if found.more => eprintln!("echoctl: the trace has more than these {} lines", found.items.len()),
            None => {}
        }
    }
}

impl Part<'_> {
    fn moment(&self) -> Option<OffsetDateTime> {
        let (Self::Line(item) | Self::Entry(item)) = self;
        moment(item)
    }

    fn json(&self) -> Value {
        match self {
            Self::Line(item) => json!({ "log": item }),
            Self::Entry(item) => json!({ "audit": item }),
        }
    }

    fn shown(&self, style: Style) -> String {
        match self {
            Self::Line(item) => line(item, style),
            Self::Entry(item) => entry(item, style),
        }
    }
}

/// When a line was written or an entry's event happened.
fn moment(item: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(item.get("time")?.as_str()?, &Rfc3339).ok()
}

/// The time around lines; none when there are no lines.
fn window(lines: &[Value]) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let first = lines.iter().filter_map(moment).min()?;
    let last = lines.iter().filter_map(moment).max()?;
    Some((first.saturating_sub(MARGIN), last.saturating_add(MARGIN)))
}

/// Lines (the oldest first) and entries (the newest first) in the order of their times.
fn merge<'a>(lines: &'a [Value], entries: &'a [Value]) -> Vec<Part<'a>> {
    let entries = entries.iter().rev().map(Part::Entry);
    let mut story: Vec<Part<'_>> = lines.iter().map(Part::Line).chain(entries).collect();
    // Stable: what happened at the same time stays in its order.
    story.sort_by_key(Part::moment);
    story
}

/// An audit entry: time, `audit` where lines have their severity, source, action and outcome, and on whom and what.
fn entry(entry: &Value, style: Style) -> String {
    let named = |name: &str| {
        let id = entry.get(name)?;
        Some(pair(name, &Value::String(format!("{}/{}", text(id, "type"), text(id, "id")))))
    };
    let reason = entry.get("reason").map(|reason| pair("reason", reason));
    let details = join([named("actor"), named("resource"), reason].into_iter().flatten());
    let source = style.paint(Look::Name, &text(entry, "source"));
    let what = format!("{} {}", text(entry, "action"), text(entry, "outcome"));
    join([time(entry), style.paint(Look::Audit, "audit"), source, what, style.paint(Look::Dim, &details)])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::{Part, Style, merge, window};

    fn line(time: &str, body: &str) -> Value {
        json!({"time": time, "severity": "INFO", "service": "web", "body": body, "attributes": {}})
    }

    fn entry(time: &str, action: &str) -> Value {
        json!({
            "time": time, "source": "/authorize", "action": action, "outcome": "denied", "reason": "no policy",
            "actor": {"type": "User", "id": "bob"}, "resource": {"type": "Document", "id": "d1"},
        })
    }

    #[test]
    fn a_story_is_told_in_the_order_of_time() {
        let lines = [
            line("2026-01-31T12:00:00.000000001Z", "begins"),
            line("2026-01-31T12:00:00.500000000Z", "asks"),
            line("2026-01-31T12:00:00.500000000Z", "waits"),
            line("2026-01-31T12:00:01.000000000Z", "ends"),
        ];
        // The newest first, as the log answers; microseconds.
        let entries = [
            entry("2026-01-31T12:00:00.500001Z", "second"),
            entry("2026-01-31T12:00:00.500001Z", "first"),
            entry("2026-01-31T12:00:00.500000Z", "early"),
        ];
        let name = |part: Part<'_>| match part {
            Part::Line(line) => line["body"].clone(),
            Part::Entry(entry) => entry["action"].clone(),
        };
        let names: Vec<_> = merge(&lines, &entries).into_iter().map(name).collect();
        assert_eq!(names, ["begins", "asks", "waits", "early", "first", "second", "ends"]);
        assert_eq!(merge(&[], &[]), []);
    }

    #[test]
    fn entries_are_looked_for_around_the_lines() {
        let lines = [line("2026-01-31T12:00:00.5Z", ""), line("2026-01-31T12:10:00Z", ""), line("soon", "")];
        let expected = (datetime!(2026-01-31 11:55:00.5 UTC), datetime!(2026-01-31 12:15 UTC));
        assert_eq!(window(&lines), Some(expected));
        assert_eq!(window(&[]), None);
    }

    #[test]
    fn parts_say_what_they_are() {
        let time = "2026-01-31T12:00:00.250000Z";
        let denied = entry(time, "decision.deny");
        let part = Part::Entry(&denied);
        let shown = "2026-01-31T12:00:00.250Z audit /authorize decision.deny denied actor=User/bob resource=Document/d1 \
                     reason=\"no policy\"";
        assert_eq!(part.shown(Style::plain()), shown);
        assert_eq!(part.json()["audit"]["action"], "decision.deny");
        assert_eq!(Part::Line(&line(time, "x")).json()["log"]["body"], "x");
        let mut hostile = entry(time, "\u{1b}[2J");
        hostile["actor"]["id"] = json!("\u{1b}]0;x\u{7}");
        let shown = Part::Entry(&hostile).shown(Style::plain());
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}
