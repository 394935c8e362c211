//! `echoctl logs query`.

use clap::Args;
use echo_shared::clock::Clock;

use super::filter::{Filters, Range};
use super::pages::{Found, Search, all_sound};
use super::render::{Colours, line};
use super::{QUERY, SCOPE, put};
use crate::Failure;
use crate::session::Reader;
use crate::show::plain;

/// Lines of one page: the most that the server answers.
pub const PAGE: usize = 100;

/// Search lines. They are shown as in a log, the newest last.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 done, 1 could not tell, 2 blocks are damaged and their lines missing")]
pub struct Query {
    #[command(flatten)]
    reader: Reader,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    filters: Filters,
    /// The most lines, 1 to 10000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    #[command(flatten)]
    colours: Colours,
    /// Print a JSON object a line, the newest first
    #[arg(long)]
    json: bool,
}

impl Query {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let parameters = [self.range.parameters(Clock::system().now()), self.filters.parameters()].concat();
        let search = Search { path: QUERY.into(), parameters, most: self.limit.into(), page: PAGE };
        let found = search.run(&mut self.reader.open(SCOPE).await?).await?;
        self.print(&found)?;
        if let Some(time) = &found.scanned_to {
            let time = plain(time);
            eprintln!(
                "echoctl: the read budget ended the search, which looked back to {time}; go on with --to {time}, or name \
                 a service, a severity or a trace"
            );
        }
        all_sound(&found.damaged)
    }

    fn print(&self, found: &Found) -> Result<(), Failure> {
        if self.json {
            return found.items.iter().try_for_each(|item| put(&item.to_string()));
        }
        let style = self.colours.style();
        found.items.iter().rev().try_for_each(|item| put(&line(item, style)))
    }
}
