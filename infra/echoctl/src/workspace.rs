//! The checkout that `up` runs: where it is, and how it is built.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use echo_local::process::find_program;
use echo_local::state::{Run, read_run};
use echo_shared::config::Env;
use tokio::process::Command;

use crate::Failure;

/// The nearest folder upwards that holds Echo.
pub fn root() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir()?;
    let echo = |folder: &&Path| folder.join("template.yaml").is_file() && folder.join("functions").is_dir();
    let found = here.ancestors().find(echo).map(Path::to_path_buf);
    found.ok_or_else(|| "this is no checkout of Echo; change to one (the folder with template.yaml)".into())
}

/// The stack that runs from this checkout or with this state directory, when one does.
pub fn running(state: Option<&Path>) -> Option<Run> {
    match state {
        Some(state) => read_run(state),
        None => read_run(&root().ok()?.join(".echo")),
    }
}

/// Builds the functions; cargo itself shows what it does.
///
/// Cargo unifies features over what it is asked to build, so each mode asks in the words of whoever else builds: `sam
/// build` in release, `cargo run --bin` of `cargo lambda watch` else. Other words would build every SDK again.
pub async fn build(root: &Path, release: bool) -> Result<(), Failure> {
    let functions = std::fs::read_dir(root.join("functions"))?.map(|function| function.map(|f| f.file_name()));
    let mut functions = functions.collect::<Result<Vec<_>, _>>()?;
    functions.sort();
    for function in functions {
        // `sam build` stands in the function's folder, the watcher in the workspace's; it is another selection.
        let (mut command, folder) = match release {
            true => (cargo_lambda_build(root)?, root.join("functions").join(&function)),
            false => (cargo_build()?, root.to_path_buf()),
        };
        command.arg("--bin").arg(function).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        if !command.status().await?.success() {
            return Err("the functions do not build; see above".into());
        }
    }
    Ok(())
}

fn cargo_build() -> Result<Command, Failure> {
    let cargo = find_program("cargo").ok_or("cargo is missing; install Rust from https://rustup.rs and try again")?;
    let mut command = Command::new(cargo);
    command.arg("build");
    Ok(command)
}

fn cargo_lambda_build(root: &Path) -> Result<Command, Failure> {
    let cargo_lambda = cargo_lambda(root)?;
    let mut command = Command::new(&cargo_lambda);
    command.args(["lambda", "build", "--release"]);
    // Zig, which links for Lambda's glibc, lies beside it.
    let beside = cargo_lambda.parent().map(Path::to_path_buf);
    let path = Env::process().optional("PATH").unwrap_or_default();
    let path = std::env::join_paths(beside.into_iter().chain(std::env::split_paths(&path)))?;
    command.env("PATH", path);
    Ok(command)
}

/// The `cargo-lambda` program: installed by setup, or the user's own.
pub fn cargo_lambda(root: &Path) -> Result<PathBuf, Failure> {
    let own = root.join(".echo/venv/bin/cargo-lambda");
    let found = if own.is_file() { Some(own) } else { find_program("cargo-lambda") };
    found.ok_or_else(|| "cargo-lambda is missing; run ./scripts/setup".into())
}
