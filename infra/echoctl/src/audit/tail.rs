//! `echoctl audit tail`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::SCOPE;
use super::list::{Filters, items, row};
use crate::Failure;
use crate::session::{Reader, Session};
use crate::up::Stop;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// Shown at first.
const FIRST: usize = 10;
/// Pages read at one look: a page may be short, or all new.
const PAGES: usize = 5;
/// So many indexes are remembered: more than one look sees, since the newest entries are not always those with the
/// newest times.
const REMEMBERED: usize = 10_000;

/// Follow the log: the last ten entries, and new ones as they come, looked for every two seconds. Ctrl-C ends it.
#[derive(Args)]
pub struct Tail {
    #[command(flatten)]
    reader: Reader,
    #[command(flatten)]
    filters: Filters,
    /// Print entries as JSON, one a line
    #[arg(long)]
    json: bool,
}

impl Tail {
    /// Runs until Ctrl-C.
    pub async fn run(self) -> Result<(), Failure> {
        let mut stop = Stop::listen()?;
        tokio::select! {
            () = stop.wait() => Ok(()),
            failure = self.follow() => failure,
        }
    }

    async fn follow(&self) -> Result<(), Failure> {
        let mut session = self.reader.open(SCOPE).await?;
        let mut seen = BTreeSet::new();
        let first = self.look(&mut session, &mut seen, FIRST).await?;
        first.iter().take(FIRST).rev().for_each(|entry| self.print(entry));
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.look(&mut session, &mut seen, usize::MAX).await {
                Ok(new) => new.iter().rev().for_each(|entry| self.print(entry)),
                // It may well be back for the next look.
                Err(error) => eprintln!("echoctl: {error}"),
            }
        }
    }

    /// Entries that were not seen before, the newest first: page by page until one holds an entry that was, or `enough`
    /// are found.
    async fn look(
        &self,
        session: &mut Session<'_>,
        seen: &mut BTreeSet<u64>,
        enough: usize,
    ) -> Result<Vec<Value>, Failure> {
        let (mut new, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let mut query = self.filters.query();
            query.push(("limit", "100"));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = session.json("/audit/v1/events", &query).await?;
            let before = new.len();
            new.extend(items(&page).filter(|entry| index(entry).is_none_or(|index| !seen.contains(&index))).cloned());
            let all_new = new.len() - before == items(&page).count();
            cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if !all_new || new.len() >= enough || cursor.is_none() {
                break;
            }
        }
        seen.extend(new.iter().filter_map(index));
        while seen.len() > REMEMBERED {
            seen.pop_first();
        }
        Ok(new)
    }

    fn print(&self, entry: &Value) {
        if self.json {
            println!("{entry}");
        } else {
            println!("{}", row(entry).join("  "));
        }
    }
}

fn index(entry: &Value) -> Option<u64> {
    entry.get("index").and_then(Value::as_u64)
}
