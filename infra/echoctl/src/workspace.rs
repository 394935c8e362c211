//! The checkout that `up` runs: where it is, and how it is built.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use echo_local::process::find_program;
use echo_local::state::{Run, read_run};
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
/// Cargo unifies features over what it is asked to build, so each mode asks in the words of whoever builds next: the
/// test script in release, `cargo run --bin` of `cargo lambda watch` else. Other words would build every SDK again.
pub async fn build(root: &Path, release: bool) -> Result<(), Failure> {
    if release {
        return cargo(root, &["build", "--bins", "--release"]).await;
    }
    for function in std::fs::read_dir(root.join("functions"))? {
        cargo(root, &["build", "--bin", &function?.file_name().to_string_lossy()]).await?;
    }
    Ok(())
}

async fn cargo(root: &Path, args: &[&str]) -> Result<(), Failure> {
    let cargo = find_program("cargo").ok_or("cargo is missing; install Rust from https://rustup.rs and try again")?;
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root).stdin(Stdio::null()).kill_on_drop(true);
    if command.status().await?.success() { Ok(()) } else { Err("the functions do not build; see above".into()) }
}

/// The `cargo-lambda` program: installed by setup, or the user's own.
pub fn cargo_lambda(root: &Path) -> Result<PathBuf, Failure> {
    let own = root.join(".echo/venv/bin/cargo-lambda");
    let found = if own.is_file() { Some(own) } else { find_program("cargo-lambda") };
    found.ok_or_else(|| "cargo-lambda is missing; run ./scripts/setup".into())
}
