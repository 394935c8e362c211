//! `echoctl queue`: what is in the queues, here and in the cloud, through SQS's own protocol.

mod messages;
mod place;
mod redrive;
mod stats;

use std::io::{IsTerminal, Write};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::Failure;
use place::{Place, Where};

/// Look into the queues, here or in the cloud.
#[derive(Subcommand)]
pub enum Queue {
    /// Show every queue: ready, delayed, in flight, age of the oldest, failed
    Stats(Stats),
    /// Show messages without taking them
    Peek(messages::Peek),
    /// Send dead letters back to the queue they came from
    Redrive(redrive::Redrive),
    /// Throw away everything in a queue
    Purge(Purge),
    /// Follow a queue's figures, and its messages when it is a dead-letter queue
    Tail(messages::Tail),
}

/// Show every queue: ready, delayed, in flight, age of the oldest, failed.
#[derive(Args)]
pub struct Stats {
    #[command(flatten)]
    at: Where,
    /// Only these queues
    queues: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Throw away everything in a queue, messages in flight and delayed ones too.
#[derive(Args)]
pub struct Purge {
    #[command(flatten)]
    at: Where,
    /// The queue
    queue: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Queue {
    /// Runs the subcommand.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Stats(stats) => stats.run().await,
            Self::Peek(peek) => peek.run().await,
            Self::Redrive(redrive) => redrive.run().await,
            Self::Purge(purge) => purge.run().await,
            Self::Tail(tail) => tail.run().await,
        }
    }
}

impl Stats {
    async fn run(self) -> Result<(), Failure> {
        let place = Place::find(&self.at).await?;
        let mut all = Vec::new();
        for queue in place.queues(&self.queues).await? {
            all.push(stats::of(&place, &queue).await?);
        }
        if self.json {
            println!("{}", json!({ "queues": all.iter().map(stats::Stats::json).collect::<Vec<_>>() }));
        } else {
            print!("{}", stats::table(&all));
        }
        Ok(())
    }
}

impl Purge {
    async fn run(self) -> Result<(), Failure> {
        let place = Place::find(&self.at).await?;
        let queue = place.queue(&self.queue).await?;
        let before = stats::of(&place, &queue).await?;
        if !self.yes && !confirmed(&format!("Throw away {} messages in {}?", before.messages(), queue.name))? {
            return Err("nothing was purged".into());
        }
        place.sqs.purge_queue().queue_url(&queue.url).send().await.map_err(place::said)?;
        if self.json {
            println!("{}", json!({ "queue": queue.name, "purged": before.messages() }));
        } else {
            println!("{}: about {} messages purged", queue.name, before.messages());
        }
        Ok(())
    }
}

fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err("say --yes: nobody can be asked here".into());
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
