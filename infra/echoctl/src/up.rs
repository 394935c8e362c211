//! `echoctl up`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use echo_local::stack::{self, Mode, Options, Running};
use echo_local::state::State;
use echo_shared::config::Env;
use echo_shared::secret::Secret;
use echo_shared::telemetry;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Failure, seed, workspace};

/// Start the whole stack on this machine and keep it running until Ctrl-C.
///
/// By default functions run under `cargo lambda watch` and are reloaded as their source changes.
#[derive(Args)]
pub struct Up {
    /// Run the optimised binaries that are deployed, instead of reloading on change
    #[arg(long)]
    release: bool,
    /// The gateway's port; 0 takes a free one
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Where data is kept; two stacks run side by side with two of them [default: .echo in the checkout]
    #[arg(long)]
    state: Option<PathBuf>,
    /// Begin with empty tables and queues
    #[arg(long)]
    fresh: bool,
    /// Use this MySQL server instead of a private one
    #[arg(long, env = "ECHO_MYSQL_URL", hide_env_values = true)]
    mysql_url: Option<String>,
}

/// The embedded DynamoDB reports every condition that does not hold, which is daily business.
const QUIET: &str = "warn,dynoxide=error";

impl Up {
    /// Starts the stack, waits for the end, stops it.
    pub async fn run(self) -> Result<(), Failure> {
        telemetry::init(&Env::from_fn(|key| {
            Env::process().optional(key).or_else(|| (key == "RUST_LOG").then(|| QUIET.to_owned()))
        }));
        let mut stop = Stop::listen()?;
        let begun = Instant::now();
        let root = workspace::root()?;
        let directory = match &self.state {
            Some(state) => std::path::absolute(state)?,
            None => root.join(".echo"),
        };
        let started = tokio::select! {
            started = self.start(&root, &directory) => started,
            () = stop.wait() => Err("stopped before everything was started".into()),
        };
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                State::tidy(&directory).await;
                return Err(error);
            }
        };
        println!("{}", screen(&running, begun.elapsed().as_secs_f64()));
        println!("ready {}", running.run().url);
        let failure = tokio::select! {
            () = stop.wait() => None,
            why = running.failed() => Some(why),
        };
        eprintln!("stopping");
        running.stop().await;
        failure.map_or(Ok(()), |why| Err(why.into()))
    }

    async fn start(&self, root: &Path, directory: &Path) -> Result<Running, Failure> {
        let state = State::open(directory, self.fresh).await?;
        say("building the functions");
        workspace::build(root, self.release).await?;
        let mode = if self.release {
            Mode::Release { binaries: root.join("target/lambda") }
        } else {
            Mode::Watch { cargo_lambda: workspace::cargo_lambda(root)? }
        };
        let mysql_url = self.mysql_url.as_deref().map(Secret::new);
        let options = Options { root: root.to_path_buf(), port: self.port, mode, mysql_url };
        let running = stack::start(state, options, say).await?;
        say("seeding the demo organisation");
        seed::demo(running.dynamodb(), &running.run().url, root).await?;
        Ok(running)
    }
}

fn say(what: &str) {
    eprintln!("… {what}");
}

/// Ctrl-C, SIGTERM, or the terminal gone.
pub struct Stop(tokio::sync::mpsc::Receiver<()>);

impl Stop {
    /// Listens from now on.
    pub fn listen() -> Result<Self, Failure> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    let _ = sender.try_send(());
                }
            });
        }
        Ok(Self(receiver))
    }

    /// Waits for the first of them.
    pub async fn wait(&mut self) {
        let _ = self.0.recv().await;
    }
}

fn screen(running: &Running, seconds: f64) -> String {
    let run = running.run();
    let url = &run.url;
    format!(
        "
Echo runs at {url}  (started in {seconds:.1} s; Ctrl-C stops it)

  sign in      {url}/login
  people       {alice} (admin), {bob} (member); password {password}
  service      {service}, secret {secret}
  public app   {spa}

  try          .echo/bin/echoctl login --email {alice}
               .echo/bin/echoctl audit list

  SQS          {sqs}
  DynamoDB     {dynamodb}
  Lambda       {lambda}
  MySQL        {mysql}
",
        alice = seed::ALICE,
        bob = seed::BOB,
        password = seed::PASSWORD,
        service = seed::SERVICE_ID,
        secret = seed::SERVICE_SECRET,
        spa = seed::SPA_ID,
        sqs = run.sqs_endpoint,
        dynamodb = run.dynamodb_endpoint,
        lambda = run.lambda_endpoint,
        mysql = run.mysql_socket.as_ref().map_or_else(|| "your own".into(), |s| s.display().to_string()),
    )
}
