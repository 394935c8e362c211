//! The state directory: what survives a stop, and the book of what runs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::entropy::Entropy;
use echo_shared::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::process;

/// The layout of the state directory; another one is not understood.
const VERSION: &str = "1";

/// An opened state directory; while it is held nobody else can open it.
pub struct State {
    directory: PathBuf,
    _lock: File,
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Somebody holds it.
    #[error("another Echo runs with the state directory {0}; stop it, or choose another with --state")]
    Taken(String),
    /// It was written by another version of Echo.
    #[error("the state directory {0} is of version {1}, this Echo needs {VERSION}; start with --fresh to begin anew")]
    Version(String, String),
    /// It cannot be read or written.
    #[error("cannot use {0}: {1}")]
    Io(String, std::io::Error),
}

/// `run.json`: what runs and where it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The process that runs it all.
    pub pid: u32,
    /// The gateway, and the issuer.
    pub url: String,
    /// The SQS endpoint.
    pub sqs_endpoint: String,
    /// The DynamoDB endpoint.
    pub dynamodb_endpoint: String,
    /// The S3 endpoint; an Echo that had none may have been killed here.
    #[serde(default)]
    pub s3_endpoint: String,
    /// Where functions are invoked; empty until they run.
    pub lambda_endpoint: String,
    /// The private MySQL server's socket.
    pub mysql_socket: Option<PathBuf>,
    /// Sockets and other short-lived files.
    pub runtime_directory: PathBuf,
    /// The environment of the functions, secrets left out.
    pub environment: BTreeMap<String, String>,
    /// The child processes.
    pub processes: Vec<Process>,
}

/// A child process, told from a later one with the same id by its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What it is: `mysql`, `cargo lambda watch`, or a function's name.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// When it started, in the kernel's ticks.
    pub started: Option<u64>,
}

impl Process {
    /// The process as it runs now.
    pub fn of(name: &str, pid: u32) -> Self {
        Self { name: name.into(), pid, started: process::start_time(pid) }
    }

    fn is_alive(&self) -> bool {
        self.started.is_some() && process::start_time(self.pid) == self.started
    }
}

impl State {
    /// Opens or makes the directory, takes its lock, ends what a killed Echo left running; `fresh` empties it first.
    ///
    /// # Errors
    /// When somebody holds it, it is of another version, or cannot be written.
    pub async fn open(directory: &Path, fresh: bool) -> Result<Self, StateError> {
        let shown = directory.display().to_string();
        let io = |error| StateError::Io(shown.clone(), error);
        std::fs::create_dir_all(directory).map_err(io)?;
        std::fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(io)?;
        let lock = File::create(directory.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Taken(shown)),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let state = Self { directory: directory.into(), _lock: lock };
        state.end_left_overs().await;
        if fresh {
            state.empty().map_err(io)?;
        }
        match std::fs::read_to_string(state.path("version")) {
            Ok(version) if version.trim() == VERSION => {}
            Ok(version) => return Err(StateError::Version(shown, version.trim().chars().take(20).collect())),
            Err(_) => state.write("version", VERSION).map_err(io)?,
        }
        std::fs::create_dir_all(state.path("logs")).map_err(io)?;
        Ok(state)
    }

    /// Ends and forgets what a start that failed left behind.
    pub async fn tidy(directory: &Path) {
        // Its tasks may hold the lock for a moment longer.
        for _ in 0..50 {
            match Self::open(directory, false).await {
                Err(StateError::Taken(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => return,
            }
        }
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The master key, made at the first start.
    ///
    /// # Errors
    /// When it can neither be read nor written.
    pub fn master_key(&self, entropy: &Entropy) -> Result<Secret, StateError> {
        let io = |error| StateError::Io(self.path("master.key").display().to_string(), error);
        match std::fs::read_to_string(self.path("master.key")) {
            Ok(key) => Ok(Secret::new(key.trim())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = STANDARD.encode(entropy.bytes::<32>());
                self.write("master.key", &key).map_err(io)?;
                Ok(Secret::new(key))
            }
            Err(error) => Err(io(error)),
        }
    }

    /// Writes a file for our eyes only, whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, name: &str, content: &str) -> std::io::Result<()> {
        let draft = self.path(&format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(draft, self.path(name))
    }

    /// Writes `run.json`.
    pub fn record(&self, run: &Run) {
        let json = serde_json::to_string_pretty(run).unwrap_or_default();
        if let Err(error) = self.write("run.json", &json) {
            tracing::error!(%error, "cannot write run.json");
        }
    }

    /// Forgets what ran: everything has been stopped.
    pub fn clear(&self) {
        for name in ["run.json", "env"] {
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    async fn end_left_overs(&self) {
        let Some(run) = read_run(&self.directory) else { return };
        for process in run.processes.iter().filter(|process| process.is_alive()) {
            tracing::warn!(name = process.name, pid = process.pid, "ending what a killed Echo left running");
            process::signal_group(process.pid, "KILL").await;
            while process.is_alive() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        remove_runtime_directory(&run.runtime_directory);
        self.clear();
    }

    fn empty(&self) -> std::io::Result<()> {
        for name in ["mysql", "logs", "functions", "s3"] {
            if self.path(name).exists() {
                std::fs::remove_dir_all(self.path(name))?;
            }
        }
        for name in ["version", "master.key", "dynamodb.sqlite", "dynamodb.sqlite-wal", "dynamodb.sqlite-shm"] {
            if self.path(name).exists() {
                std::fs::remove_file(self.path(name))?;
            }
        }
        Ok(())
    }
}

/// What runs with a state directory, when something does.
pub fn read_run(directory: &Path) -> Option<Run> {
    serde_json::from_str(&std::fs::read_to_string(directory.join("run.json")).ok()?).ok()
}

/// A short directory for sockets, whose paths may have about 100 bytes.
///
/// # Errors
/// When the system's temporary directory cannot be written.
pub fn make_runtime_directory(entropy: &Entropy) -> std::io::Result<PathBuf> {
    let name = format!("echo-{}", echo_shared::telemetry::hex(&entropy.bytes::<6>()));
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory)?;
    std::fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
    Ok(directory)
}

/// Removes a directory made by [`make_runtime_directory`], and nothing else.
pub fn remove_runtime_directory(directory: &Path) {
    let ours = directory.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("echo-"));
    if ours && directory.parent() == Some(std::env::temp_dir().as_path()) {
        let _ = std::fs::remove_dir_all(directory);
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::entropy::Entropy;

    use super::{State, StateError, make_runtime_directory, remove_runtime_directory};

    #[tokio::test]
    async fn a_state_directory_is_for_one_and_for_one_version() {
        let directory = make_runtime_directory(&Entropy::system()).unwrap();
        let state = State::open(&directory, false).await.unwrap();
        assert!(matches!(State::open(&directory, false).await, Err(StateError::Taken(_))));
        let key = state.master_key(&Entropy::system()).unwrap();
        drop(state);
        std::fs::write(directory.join("version"), "0").unwrap();
        assert!(matches!(State::open(&directory, false).await, Err(StateError::Version(_, _))));
        let fresh = State::open(&directory, true).await.unwrap();
        assert_ne!(fresh.master_key(&Entropy::system()).unwrap().expose(), key.expose());
        drop(fresh);
        remove_runtime_directory(&directory);
        assert!(!directory.exists());
    }
}
