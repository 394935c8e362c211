//! `echoctl audit list`.

use clap::Args;
use serde_json::Value;

use super::SCOPE;
use crate::Failure;
use crate::session::Reader;
use crate::show::{plain, table};

/// Which entries.
#[derive(Args)]
pub struct Filters {
    /// Only this actor's id
    #[arg(long)]
    actor: Option<String>,
    /// Only this action, for example login.failed
    #[arg(long)]
    action: Option<String>,
    /// Only this resource, as Type/id
    #[arg(long)]
    resource: Option<String>,
    /// Only this outcome: success, failure or denied
    #[arg(long)]
    outcome: Option<String>,
}

/// List entries, newest first.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    reader: Reader,
    #[command(flatten)]
    filters: Filters,
    /// Only entries with this text anywhere; needs --from and --to
    #[arg(long, requires_all = ["from", "to"])]
    text: Option<String>,
    /// Only from this RFC 3339 time on
    #[arg(long)]
    from: Option<String>,
    /// Only before this RFC 3339 time
    #[arg(long)]
    to: Option<String>,
    /// How many entries, 1 to 100
    #[arg(long, default_value = "20")]
    limit: String,
    /// The `next` of an earlier page
    #[arg(long)]
    cursor: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Filters {
    /// As query parameters.
    pub fn query(&self) -> Vec<(&str, &str)> {
        given([
            ("actor", &self.actor),
            ("action", &self.action),
            ("resource", &self.resource),
            ("outcome", &self.outcome),
        ])
    }
}

impl List {
    /// Prints a page.
    pub async fn run(self) -> Result<(), Failure> {
        let mut query = self.filters.query();
        query.extend(given([("text", &self.text), ("from", &self.from), ("to", &self.to), ("cursor", &self.cursor)]));
        query.push(("limit", &self.limit));
        let answer = self.reader.open(SCOPE).await?.json("/audit/v1/events", &query).await?;
        if self.json {
            println!("{answer}");
        } else {
            print(&answer);
        }
        Ok(())
    }
}

fn given<'a, const N: usize>(pairs: [(&'a str, &'a Option<String>); N]) -> Vec<(&'a str, &'a str)> {
    pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
}

fn print(answer: &Value) {
    let rows: Vec<Vec<String>> = items(answer).map(row).collect();
    print!("{}", table(&["TIME", "ACTION", "OUTCOME", "REASON", "ACTOR", "RESOURCE", "TRACE"], &rows));
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        eprintln!("more: --cursor {next}");
    }
}

/// The elements of a list that was answered.
pub fn items(answer: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    answer.get("items").and_then(Value::as_array).into_iter().flatten()
}

/// An entry in a line.
pub fn row(entry: &Value) -> Vec<String> {
    let text = |pointer: &str| plain(entry.pointer(pointer).and_then(Value::as_str).unwrap_or("-"));
    let actor = match text("/actor/name").as_str() {
        "-" => text("/actor/id"),
        name => name.to_owned(),
    };
    let resource = match entry.get("resource") {
        Some(_) => format!("{}/{}", text("/resource/type"), text("/resource/id")),
        None => "-".into(),
    };
    let trace = text("/trace_id").chars().take(8).collect();
    vec![text("/time"), text("/action"), text("/outcome"), text("/reason"), actor, resource, trace]
}
