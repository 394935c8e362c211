//! `echoctl audit`: what is in the audit log, and whether it still is what was logged.

mod checkpoints;
mod export;
mod keys;
mod list;
mod parts;
mod progress;
mod show;
mod tail;
mod verify;

use clap::Subcommand;

use crate::Failure;

/// The scope of everything that is read here.
pub const SCOPE: &str = "audit.read";

/// Read the audit log, and verify it.
#[derive(Subcommand)]
pub enum Audit {
    /// List entries, newest first
    List(list::List),
    /// Show an event's entry, and verify that it is in the log
    Show(show::Show),
    /// Follow the log: the last entries, and new ones as they come
    Tail(tail::Tail),
    /// Write out the whole log, with what verifies it
    Export(export::Export),
    /// Verify the whole log, or an export of it offline
    Verify(verify::Verify),
}

impl Audit {
    /// Runs the subcommand.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Tail(tail) => tail.run().await,
            Self::Export(export) => export.run().await,
            Self::Verify(verify) => verify.run().await,
        }
    }
}
