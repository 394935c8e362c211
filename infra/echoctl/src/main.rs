//! `echoctl`: the operator's tool.

mod api;
mod audit;
mod bench;
mod bootstrap;
mod login;
mod logs;
mod queue;
mod seed;
mod session;
mod show;
mod token;
mod up;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Run Echo on this machine, sign in, and look at what happened.
#[derive(Parser)]
#[command(name = "echoctl", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the whole stack here: gateway, functions, queues, tables. Ctrl-C stops it
    Up(up::Up),
    /// Make a deployed stack's first organisation, admin and client
    Bootstrap(bootstrap::Bootstrap),
    /// Sign in and print an access token
    Login(login::Login),
    /// Get a client's own access token (client credentials)
    Token(token::Token),
    /// Measure the functions' release binaries: starts, speed, size and cost
    Bench(bench::Bench),
    /// Read the audit log
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Search log lines, follow them, and tell the story of a request
    #[command(subcommand)]
    Logs(logs::Logs),
    /// Look into the queues, here or in the cloud
    #[command(subcommand)]
    Queue(queue::Queue),
}

/// Why a command failed: a sentence that says what to do.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A command that did its work, and whose answer is no: said already, and told to scripts by an exit code of its own.
#[derive(Debug)]
struct Refuted;

impl Refuted {
    const EXIT: u8 = 2;
}

impl std::error::Error for Refuted {}

impl std::fmt::Display for Refuted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer is no")
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            let _ = error.print();
            // clap's own code for a wrong call is 2, which here says something else.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match command {
        Command::Up(up) => up.run().await,
        Command::Bootstrap(bootstrap) => bootstrap.run().await,
        Command::Login(login) => login.run().await,
        Command::Token(token) => token.run().await,
        Command::Bench(bench) => bench.run().await,
        Command::Audit(audit) => audit.run().await,
        Command::Logs(logs) => logs.run().await,
        Command::Queue(queue) => queue.run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(answer) if answer.is::<Refuted>() => ExitCode::from(Refuted::EXIT),
        Err(error) => {
            eprintln!("echoctl: {error}");
            ExitCode::FAILURE
        }
    }
}
