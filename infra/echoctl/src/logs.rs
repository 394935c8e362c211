//! `echoctl logs`: what programs wrote while they worked.

mod filter;
mod pages;
mod query;
mod render;
mod stats;
mod tail;
mod trace;

use std::io::{ErrorKind, Write};

use clap::Subcommand;

use crate::Failure;

/// The scope of everything that is read here.
const SCOPE: &str = "logs.read";
/// Where lines are searched.
const QUERY: &str = "/logs/v1/query";

/// Query parameters; a name may come more than once.
type Parameters = Vec<(&'static str, String)>;

/// Search log lines, follow them, and tell the story of a request.
#[derive(Subcommand)]
pub enum Logs {
    /// Search lines: the newest 100 of the last hour, unless you say otherwise
    Query(query::Query),
    /// Show the last lines, and follow them
    Tail(tail::Tail),
    /// Tell the story of a request: its lines and its audit entries
    Trace(trace::Trace),
    /// Count lines by time, service and severity
    Stats(stats::Stats),
}

impl Logs {
    /// Runs the subcommand.
    pub async fn run(self) -> Result<(), Failure> {
        let done = match self {
            Self::Query(query) => query.run().await,
            Self::Tail(tail) => tail.run().await,
            Self::Trace(trace) => trace.run().await,
            Self::Stats(stats) => stats.run().await,
        };
        match done {
            // Whoever reads along has seen enough, such as `head`.
            Err(error) if is_closed(&error) => Ok(()),
            done => done,
        }
    }
}

fn is_closed(error: &Failure) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Prints a line.
fn put(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use clap::{Command, Subcommand};

    use super::{Logs, is_closed};
    use crate::Failure;

    #[test]
    fn the_command_line_is_as_documented() {
        let command = || Logs::augment_subcommands(Command::new("logs").no_binary_name(true));
        command().debug_assert();
        let taken = |line: &str| command().try_get_matches_from(line.split(' ')).is_ok();
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for good in [
            "query --since 2h --severity warn --service shop --text till --limit 10000 --json",
            "query --from 2026-01-31T12:00:00Z --to 2026-01-31T13:00:00Z --no-color",
            "tail -f --attribute customer=c17 --attribute a=b",
            "stats --since 1d --bucket 1h",
            format!("trace {trace} --json").as_str(),
            format!("query --trace {trace} --span 00f067aa0ba902b7").as_str(),
        ] {
            assert!(taken(good), "{good}");
        }
        for bad in
            ["trace", "trace 4bf9", "query --limit 0", "query --limit 10001", "stats --bucket 5", "tail --since x"]
        {
            assert!(!taken(bad), "{bad}");
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = |kind: ErrorKind| Failure::from(Error::from(kind));
        assert!(is_closed(&failure(ErrorKind::BrokenPipe)) && !is_closed(&failure(ErrorKind::StorageFull)));
    }
}
