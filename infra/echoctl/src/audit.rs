//! `echoctl audit`.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::Failure;
use crate::api::{Credentials, Target, http, json, member};
use crate::show::{plain, table};

/// Read the audit log.
#[derive(Subcommand)]
pub enum Audit {
    /// List entries, newest first
    List(List),
}

/// List entries, newest first.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    credentials: Credentials,
    /// An access token with the scope audit.read, instead of client credentials
    #[arg(long, env = "ECHO_TOKEN", hide_env_values = true)]
    token: Option<String>,
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

impl Audit {
    /// Runs the subcommand.
    pub async fn run(self) -> Result<(), Failure> {
        let Self::List(list) = self;
        list.run().await
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let url = self.target.url();
        let token = match &self.token {
            Some(token) => token.clone(),
            None => {
                let answer = self.credentials.token(&url, Some("audit.read"), None).await?;
                member(&answer, "access_token")?.to_owned()
            }
        };
        let pairs = [
            ("actor", &self.actor),
            ("action", &self.action),
            ("resource", &self.resource),
            ("outcome", &self.outcome),
            ("from", &self.from),
            ("to", &self.to),
            ("cursor", &self.cursor),
        ];
        let mut query: Vec<(&str, &str)> =
            pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        query.push(("limit", &self.limit));
        let request = http()?.get(format!("{url}/audit/v1/events")).bearer_auth(token).query(&query);
        let answer = json(request).await?;
        if self.json {
            println!("{answer}");
        } else {
            print(&answer);
        }
        Ok(())
    }
}

fn print(answer: &Value) {
    let text = |entry: &Value, pointer: &str| plain(entry.pointer(pointer).and_then(Value::as_str).unwrap_or("-"));
    let row = |entry: &Value| {
        let actor = match text(entry, "/actor/name").as_str() {
            "-" => text(entry, "/actor/id"),
            name => name.to_owned(),
        };
        let resource = match entry.get("resource") {
            Some(_) => format!("{}/{}", text(entry, "/resource/type"), text(entry, "/resource/id")),
            None => "-".into(),
        };
        vec![
            text(entry, "/time"),
            text(entry, "/action"),
            text(entry, "/outcome"),
            text(entry, "/reason"),
            actor,
            resource,
            text(entry, "/trace_id").chars().take(8).collect(),
        ]
    };
    let rows: Vec<Vec<String>> = answer.get("items").and_then(Value::as_array).into_iter().flatten().map(row).collect();
    print!("{}", table(&["TIME", "ACTION", "OUTCOME", "REASON", "ACTOR", "RESOURCE", "TRACE"], &rows));
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        eprintln!("more: --cursor {next}");
    }
}
