//! `echoctl bench`: what the release binaries need, measured between real queues and tables, without AWS.
//!
//! [`lab`] is the surroundings: MariaDB, SQS and DynamoDB behind a [`recorder`] each, the demo organisation, and the
//! functions, each run as an [`instance`]. [`cold`] measures starts, speed and size, [`cost`] what AWS would charge,
//! [`audit`] the audit log, [`logs`] the log store, [`queue`] the local queue by itself. [`limits`] is the gate. Times
//! depend on the machine and are never gated.

mod audit;
mod cold;
mod cost;
mod events;
mod guard;
mod instance;
mod lab;
mod limits;
mod logs;
mod prices;
mod queue;
mod recorder;
mod report;
mod sign_in;
mod usage;

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use echo_local::state::{make_runtime_directory, remove_runtime_directory};
use echo_shared::entropy::Entropy;
use serde_json::{Map, Value};

use crate::up::Stop;
use crate::{Failure, workspace};
use lab::Lab;

/// Measure the functions' release binaries; without a subcommand, everything. Build them with ./scripts/bench.
#[derive(Args)]
pub struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    /// Print one JSON object instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Starts, speed, size and round trips of each function, beside a bare one
    Cold(cold::Options),
    /// What AWS would charge for sign-ins, tokens, decisions and audit entries
    Cost,
    /// The local queue: how fast, how soon, beside its database's limit and a peer
    Queue(queue::Options),
    /// The audit log: how fast it takes entries, proves, finds and is verified, and what an entry takes
    Audit(audit::Options),
    /// The log store: what lines take in it and cost, how fast they come in, how soon a trace is found
    Logs(logs::Options),
}

/// What was measured: tables for people, and the same for machines.
#[derive(Default)]
struct Findings {
    tables: Vec<String>,
    json: Map<String, Value>,
    /// What the gate found.
    objections: Vec<String>,
}

impl Bench {
    /// Measures and prints.
    pub async fn run(self) -> Result<(), Failure> {
        let root = workspace::root()?;
        let directory = make_runtime_directory(&Entropy::system())?;
        let found = self.measure(&root, &directory).await;
        remove(&directory).await;
        let mut found = found?;
        found.json.extend(report::circumstances(&root).await);
        if self.json {
            println!("{}", Value::Object(found.json));
        } else {
            let about = |name: &str| found.json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            println!(
                "{}\n{}, commit {}, {}",
                found.tables.join("\n"),
                about("machine"),
                about("commit"),
                about("date")
            );
        }
        if found.objections.is_empty() { Ok(()) } else { Err(found.objections.join("\n         ").into()) }
    }

    async fn measure(&self, root: &Path, directory: &Path) -> Result<Findings, Failure> {
        let mut stop = Stop::listen()?;
        let mut found = Findings::default();
        if matches!(self.what, None | Some(What::Queue(_))) {
            let all = queue::Options::default();
            let options = if let Some(What::Queue(options)) = &self.what { options } else { &all };
            let directory = directory.join("queue");
            tokio::select! {
                done = queue::run(options, root, &directory, &mut found) => done?,
                () = stop.wait() => return Err(stopped()),
            }
        }
        if matches!(self.what, None | Some(What::Audit(_))) {
            let directory = directory.join("audit");
            self.audit(root, &directory, &mut stop, &mut found).await?;
            // Gigabytes that the disk would still be busy with.
            let _ = std::fs::remove_dir_all(&directory);
        }
        if matches!(self.what, None | Some(What::Logs(_))) {
            let directory = directory.join("logs");
            self.logs(root, &directory, &mut stop, &mut found).await?;
            let _ = std::fs::remove_dir_all(&directory);
        }
        if matches!(self.what, Some(What::Queue(_) | What::Audit(_) | What::Logs(_))) {
            return Ok(found);
        }
        let mut lab = start(root, directory, None, &mut stop).await?;
        let done = tokio::select! {
            done = self.in_lab(root, &mut lab, &mut found) => done,
            () = stop.wait() => Err(stopped()),
        };
        lab.stop().await;
        done.map(|()| found)
    }

    async fn audit(&self, root: &Path, directory: &Path, stop: &mut Stop, found: &mut Findings) -> Result<(), Failure> {
        let all = audit::Options::default();
        let options = if let Some(What::Audit(options)) = &self.what { options } else { &all };
        let mut lab = start(root, directory, Some(&directory.join(audit::DATABASE)), stop).await?;
        let done = tokio::select! {
            done = audit::run(options, directory, &mut lab, found) => done,
            () = stop.wait() => Err(stopped()),
        };
        lab.stop().await;
        done
    }

    async fn logs(&self, root: &Path, directory: &Path, stop: &mut Stop, found: &mut Findings) -> Result<(), Failure> {
        let all = logs::Options::default();
        let options = if let Some(What::Logs(options)) = &self.what { options } else { &all };
        let mut lab = start(root, directory, Some(&directory.join(audit::DATABASE)), stop).await?;
        let done = tokio::select! {
            done = logs::run(options, &mut lab, found) => done,
            () = stop.wait() => Err(stopped()),
        };
        lab.stop().await;
        done
    }

    async fn in_lab(&self, root: &Path, lab: &mut Lab, found: &mut Findings) -> Result<(), Failure> {
        if !matches!(self.what, Some(What::Cost)) {
            let all = cold::Options::default();
            let options = if let Some(What::Cold(options)) = &self.what { options } else { &all };
            cold::run(options, root, lab, found).await?;
        }
        if !matches!(self.what, Some(What::Cold(_))) {
            cost::run(lab, found).await?;
        }
        Ok(())
    }
}

fn stopped() -> Failure {
    "stopped".into()
}

async fn start(root: &Path, directory: &Path, database: Option<&Path>, stop: &mut Stop) -> Result<Lab, Failure> {
    report::say("starting MariaDB, SQS and DynamoDB");
    tokio::select! {
        lab = Lab::start(root, directory, database) => lab,
        () = stop.wait() => Err(stopped()),
    }
}

/// Processes that have just been killed may still write for a moment.
async fn remove(directory: &Path) {
    for _ in 0..100 {
        remove_runtime_directory(directory);
        if !directory.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
