//! `echoctl logs stats`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use echo_shared::clock::Clock;
use echo_shared::log::line::Severity;
use serde_json::{Value, json};

use super::filter::{Range, severity, span};
use super::pages::{all_sound, damaged, list};
use super::{SCOPE, put};
use crate::Failure;
use crate::session::Reader;
use crate::show::{plain, table};

/// Count lines by time, service and severity.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 done, 1 could not tell, 2 blocks are damaged and their lines not counted")]
pub struct Stats {
    #[command(flatten)]
    reader: Reader,
    #[command(flatten)]
    range: Range,
    /// Only this service's
    #[arg(long)]
    service: Option<String>,
    /// Only lines at least this severe: trace, debug, info, warn, error or fatal
    #[arg(long, value_parser = severity)]
    severity: Option<Severity>,
    /// Count by so long, 1m to 1d [default: a sixtieth of the whole time, in full minutes]
    #[arg(long, value_parser = span)]
    bucket: Option<Duration>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Stats {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let mut parameters = self.range.parameters(Clock::system().now());
        parameters.extend(self.service.clone().map(|service| ("service", service)));
        parameters.extend(self.severity.map(|severity| ("severity", severity.name().to_owned())));
        parameters.extend(self.bucket.map(|bucket| ("bucket", bucket.as_secs().to_string())));
        let mut session = self.reader.open(SCOPE).await?;
        let (mut counts, mut unsound) = (Counts::default(), BTreeSet::new());
        loop {
            let answer = session.json("/logs/v1/stats", &parameters).await?;
            counts.add(&answer);
            unsound.extend(damaged(&answer));
            let Some(next) = answer.get("next").and_then(Value::as_str) else { break };
            parameters.retain(|(name, _)| *name != "cursor");
            parameters.push(("cursor", next.to_owned()));
        }
        if self.json {
            put(&counts.json().to_string())?;
        } else {
            put(counts.table().trim_end())?;
        }
        all_sound(&unsound)
    }
}

/// Lines by time, service and severity, newest first. Pages count what they found: the same on several of them adds up.
#[derive(Default)]
struct Counts(BTreeMap<(Reverse<String>, String, String), u64>);

impl Counts {
    fn add(&mut self, page: &Value) {
        let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        for item in list(page, "items") {
            let kind = (Reverse(text(item, "time")), text(item, "service"), text(item, "severity"));
            *self.0.entry(kind).or_default() += item.get("lines").and_then(Value::as_u64).unwrap_or_default();
        }
    }

    fn items(&self) -> impl Iterator<Item = (&str, &str, &str, u64)> {
        self.0.iter().map(|((Reverse(time), service, severity), lines)| (&**time, &**service, &**severity, *lines))
    }

    fn json(&self) -> Value {
        let item = |(time, service, severity, lines)| json!({"time": time, "service": service, "severity": severity, "lines": lines});
        json!({ "items": self.items().map(item).collect::<Vec<_>>() })
    }

    fn table(&self) -> String {
        let row = |(time, service, severity, lines): (&str, &str, &str, u64)| {
            vec![plain(time), plain(service), plain(severity), lines.to_string()]
        };
        table(&["TIME", "SERVICE", "SEVERITY", "LINES"], &self.items().map(row).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Counts;

    #[test]
    fn pages_add_up_and_stand_in_columns() {
        let item = |minute: u32, lines: u32| json!({"time": format!("2026-01-31T12:0{minute}:00Z"), "service": "web\u{1b}", "severity": "WARN", "lines": lines});
        let mut counts = Counts::default();
        counts.add(&json!({ "items": [item(1, 7), item(0, 2)] }));
        counts.add(&json!({ "items": [item(0, 3)] }));
        let expected = "TIME                  SERVICE  SEVERITY  LINES\n\
            2026-01-31T12:01:00Z  web\u{fffd}     WARN      7\n2026-01-31T12:00:00Z  web\u{fffd}     WARN      5\n";
        assert_eq!(counts.table(), expected);
        assert_eq!(counts.json(), json!({ "items": [item(1, 7), item(0, 5)] }));
    }
}
