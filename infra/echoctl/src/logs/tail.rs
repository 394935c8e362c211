//! `echoctl logs tail`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use echo_shared::clock::{Clock, sortable};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::filter::{Filters, span};
use super::pages::{Found, Search, all_sound, name, text};
use super::query::PAGE;
use super::render::{Colours, Style, line};
use super::{QUERY, SCOPE, put};
use crate::Failure;
use crate::session::{Denied, Reader, Session};
use crate::up::Stop;

/// Lines shown at first.
const FIRST: usize = 20;
/// The most lines of one look.
const MOST: usize = 2_000;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines come late and out of order: every look goes back so far behind the newest line.
const LATE: Duration = Duration::from_secs(15);
/// And no farther than this from now, however long ago the newest line was: each look is paid for.
const QUIET: Duration = Duration::from_secs(600);
/// So many lines are remembered as shown: more than one look finds.
const REMEMBERED: usize = 10_000;

/// Show the last 20 lines, and follow them.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 done, 1 could not tell, 2 blocks are damaged and their lines missing")]
pub struct Tail {
    #[command(flatten)]
    reader: Reader,
    #[command(flatten)]
    filters: Filters,
    /// Go on with new lines as they come, looked for every second; Ctrl-C ends it. Lines that arrive more than 15 s late
    /// are found by `echoctl logs query` only
    #[arg(short, long)]
    follow: bool,
    /// The last lines of how long
    #[arg(long, value_parser = span, default_value = "1h")]
    since: Duration,
    #[command(flatten)]
    colours: Colours,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

impl Tail {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let mut stop = Stop::listen()?;
        tokio::select! {
            () = stop.wait() => Ok(()),
            done = self.show() => done,
        }
    }

    async fn show(&self) -> Result<(), Failure> {
        let mut session = self.reader.open(SCOPE).await?;
        let from = Clock::system().now() - self.since;
        let first = self.look(&mut session, from, FIRST).await?;
        let mut screen = Screen { style: self.colours.style(), json: self.json, seen: Seen::default() };
        screen.show(&first)?;
        // That there are older ones goes without saying.
        say_more(first.more && first.items.len() < FIRST);
        if self.follow {
            self.follow(&mut session, &mut screen, first.damaged).await
        } else {
            all_sound(&first.damaged)
        }
    }

    async fn follow(
        &self,
        session: &mut Session<'_>,
        screen: &mut Screen,
        mut damaged: BTreeSet<String>,
    ) -> Result<(), Failure> {
        // Not what was there before the first lines.
        let start = screen.seen.oldest();
        name(&damaged);
        let mut troubled = false;
        loop {
            tokio::time::sleep(PAUSE).await;
            let from = screen.seen.next(start, Clock::system().now());
            match self.look(session, from, MOST).await {
                Ok(found) => {
                    if std::mem::take(&mut troubled) {
                        eprintln!("echoctl: going on");
                    }
                    screen.show(&found)?;
                    say_more(found.more);
                    name(found.damaged.difference(&damaged));
                    damaged = found.damaged;
                }
                Err(error) if error.is::<Denied>() => return Err(error),
                // It may well be back for the next look.
                Err(error) if !troubled => {
                    eprintln!("echoctl: {error}; trying again every second");
                    troubled = true;
                }
                Err(_) => {}
            }
        }
    }

    async fn look(&self, session: &mut Session<'_>, from: OffsetDateTime, most: usize) -> Result<Found, Failure> {
        let mut parameters = self.filters.parameters();
        parameters.push(("from", sortable(from)));
        Search { path: QUERY.into(), parameters, most, page: PAGE }.run(session).await
    }
}

/// Says that a look ended before everything was read.
fn say_more(more: bool) {
    if more {
        eprintln!("echoctl: there was more than is read at once; lines may be missing");
    }
}

/// What is on the screen, and how.
struct Screen {
    style: Style,
    json: bool,
    seen: Seen,
}

impl Screen {
    /// Shows the lines that are new, the oldest first.
    fn show(&mut self, found: &Found) -> Result<(), Failure> {
        for item in found.items.iter().rev() {
            if self.seen.add(item) {
                put(&if self.json { item.to_string() } else { line(item, self.style) })?;
            }
        }
        Ok(())
    }
}

/// Lines that were shown, in the order of their times: a line is known by its block and its place there, which stay.
#[derive(Default)]
struct Seen(BTreeSet<(String, String, u64)>);

impl Seen {
    /// Whether the line is new; from now on it is not. The oldest are forgotten: no look goes back to them.
    fn add(&mut self, line: &Value) -> bool {
        let member = |name: &str| text(line, name).unwrap_or_default();
        let index = line.get("index").and_then(Value::as_u64).unwrap_or_default();
        let new = self.0.insert((member("time"), member("block"), index));
        if self.0.len() > REMEMBERED {
            self.0.pop_first();
        }
        new
    }

    fn oldest(&self) -> Option<OffsetDateTime> {
        self.0.first().and_then(|(time, _, _)| OffsetDateTime::parse(time, &Rfc3339).ok())
    }

    /// From when on to look next, when nothing before `start` is wanted.
    fn next(&self, start: Option<OffsetDateTime>, now: OffsetDateTime) -> OffsetDateTime {
        let newest = self.0.last().and_then(|(time, _, _)| OffsetDateTime::parse(time, &Rfc3339).ok());
        let bounds = [start, newest.map(|newest| newest - LATE)];
        bounds.into_iter().flatten().fold(now - QUIET, Ord::max)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::{LATE, QUIET, REMEMBERED, Seen};

    fn line(second: usize, block: &str, index: u64) -> Value {
        let time = format!("2026-01-31T{:02}:{:02}:{:02}.000000000Z", second / 3_600, second / 60 % 60, second % 60);
        json!({ "time": time, "block": block, "index": index })
    }

    #[test]
    fn every_line_is_shown_once() {
        let mut seen = Seen::default();
        assert!(seen.add(&line(5, "a", 0)) && seen.add(&line(5, "a", 1)) && seen.add(&line(5, "b", 0)));
        assert!(!seen.add(&line(5, "a", 1)));
        assert!(seen.add(&line(3, "a", 2)), "late lines are new, too");
        assert!(!seen.add(&line(3, "a", 2)) && !seen.add(&line(5, "b", 0)));
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let mut seen = Seen::default();
        assert!((0..REMEMBERED + 50).all(|second| seen.add(&line(second, "a", 0))));
        assert_eq!(seen.0.len(), REMEMBERED);
        assert!((50..REMEMBERED + 50).all(|second| !seen.add(&line(second, "a", 0))));
    }

    #[test]
    fn a_look_begins_a_little_before_the_newest_line() {
        let now = datetime!(2026-01-31 01:00 UTC);
        let mut seen = Seen::default();
        assert_eq!(seen.next(None, now), now - QUIET);
        seen.add(&line(3_590, "a", 0));
        let newest = datetime!(2026-01-31 00:59:50 UTC);
        assert_eq!(seen.next(None, now), newest - LATE);
        assert_eq!(seen.next(Some(newest), now), newest, "but not before the first line");
        assert_eq!(seen.next(Some(newest), newest + 2 * QUIET), newest + QUIET, "and not long ago");
        assert_eq!(seen.oldest(), Some(newest));
    }
}
