//! Child processes that do not outlive us.
//!
//! A child is killed when its [`Child`] is dropped, dies with us when we are killed (`setpriv --pdeathsig` on Linux),
//! and is written down by the stack so that the next start can end it all the same.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use echo_shared::config::Env;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;

/// Lines of output kept for a report.
const LAST_LINES: usize = 20;
/// The longest line, in bytes. A longer one is cut: whoever never ends a line must not fill our memory.
const MAX_LINE: u64 = 256 * 1024;

/// What to start.
#[derive(Clone)]
pub struct Spec {
    /// The name shown to people.
    pub name: String,
    /// The program: a path, or a name looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables added to ours.
    pub env: BTreeMap<String, String>,
    /// The working directory, when not ours.
    pub directory: Option<PathBuf>,
    /// The file that gets its output.
    pub log: PathBuf,
    /// Who is told every line of it, too.
    pub listener: Option<Listener>,
}

/// A running child process. Dropping it kills the child.
pub struct Child {
    name: String,
    pid: u32,
    tail: Tail,
    exited: watch::Receiver<Option<ExitStatus>>,
    stop: tokio::sync::mpsc::Sender<Stop>,
}

/// Is told every line that a child writes. Must not wait: the line goes to the log file next.
pub type Listener = Arc<dyn Fn(&str) + Send + Sync>;

enum Stop {
    Terminate,
    Kill,
}

/// A program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {name}: {reason}")]
pub struct StartError {
    name: String,
    reason: String,
}

type Tail = Arc<Mutex<VecDeque<String>>>;

impl Child {
    /// Starts a process; its output goes to `spec.log` and `spec.listener`.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub async fn start(spec: &Spec) -> Result<Self, StartError> {
        let fail = |reason: String| StartError { name: spec.name.clone(), reason };
        let mut log = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&spec.log)
            .await
            .map_err(|error| fail(format!("{}: {error}", spec.log.display())))?;
        let mut command = dying_with_us(&spec.program);
        command.args(&spec.args).envs(&spec.env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Its own process group: Ctrl-C in the terminal reaches us alone, and we stop children in order.
        command.process_group(0).kill_on_drop(true);
        if let Some(directory) = &spec.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(|error| fail(format!("{}: {error}", spec.program.display())))?;
        let pid = child.id().unwrap_or_default();
        let tail: Tail = Arc::default();
        let (lines, mut written) = tokio::sync::mpsc::channel::<String>(256);
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(forward(out, lines.clone()));
            tokio::spawn(forward(err, lines));
        }
        let (kept, listener) = (Arc::clone(&tail), spec.listener.clone());
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            while let Some(line) = written.recv().await {
                if let Some(listener) = &listener {
                    listener(&line);
                }
                // A full disk must not stop the child.
                let _ = log.write_all(format!("{line}\n").as_bytes()).await;
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(line);
                if kept.len() > LAST_LINES {
                    kept.pop_front();
                }
            }
        });
        let (exit, exited) = watch::channel(None);
        let (stop, stops) = tokio::sync::mpsc::channel(4);
        tokio::spawn(supervise(child, pid, stops, exit));
        Ok(Self { name: spec.name.clone(), pid, tail, exited, stop })
    }

    /// The process id, and its group's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the process has ended.
    pub async fn wait(&self) -> Option<ExitStatus> {
        let mut exited = self.exited.clone();
        let status = exited.wait_for(Option::is_some).await.ok()?;
        *status
    }

    /// Whether the process has ended, and how.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exited.borrow()
    }

    /// The process's last lines, for a report.
    pub fn last_lines(&self) -> String {
        let kept = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// The name given at start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the process to end (SIGTERM), and kills it after `patience`.
    pub async fn stop(&self, patience: Duration) {
        let _ = self.stop.send(Stop::Terminate).await;
        if tokio::time::timeout(patience, self.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills the process and its group, and waits until it is gone.
    pub async fn kill(&self) {
        let _ = self.stop.send(Stop::Kill).await;
        self.wait().await;
    }
}

async fn supervise(
    mut child: tokio::process::Child,
    pid: u32,
    mut stops: tokio::sync::mpsc::Receiver<Stop>,
    exit: watch::Sender<Option<ExitStatus>>,
) {
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.ok(),
            stop = stops.recv() => match stop {
                Some(Stop::Terminate) => signal_group(pid, "TERM").await,
                // The handle is gone: so is the child.
                Some(Stop::Kill) | None => {
                    signal_group(pid, "KILL").await;
                    let _ = child.start_kill();
                    break child.wait().await.ok();
                }
            },
        }
    };
    exit.send_replace(Some(status.unwrap_or_default()));
}

async fn forward(output: impl AsyncRead + Unpin, lines: tokio::sync::mpsc::Sender<String>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if lines.send(text).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A command whose process the kernel kills when the thread that starts it ends, where the system can do that.
fn dying_with_us(program: &Path) -> Command {
    match find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Sends a signal to a process group; a group that is gone is no error.
pub async fn signal_group(pid: u32, signal: &str) {
    let target = format!("-{pid}");
    let mut kill = Command::new("kill");
    kill.args([OsStr::new("-s"), OsStr::new(signal), OsStr::new("--"), OsStr::new(&target)]);
    let _ = kill.stdout(Stdio::null()).stderr(Stdio::null()).status().await;
}

/// Looks a program up in `PATH` and where system services are installed.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = Env::process().optional("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/local/sbin", "/usr/sbin", "/sbin"]).filter(|place| !place.is_empty());
    places.map(|place| Path::new(place).join(name)).find(|candidate| candidate.is_file())
}

/// When a process started, in the kernel's ticks: tells a process from a later one with the same id. `None` when it is
/// gone (or the system has no `/proc`).
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22; the second field may contain anything, up to its last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::{MAX_LINE, forward};

    #[tokio::test]
    async fn a_line_that_does_not_end_is_cut() {
        let most = usize::try_from(MAX_LINE).unwrap();
        let (lines, mut written) = mpsc::channel(4);
        forward(format!("{}\nnext\nlast", "x".repeat(most + 1)).as_bytes(), lines).await;
        let mut found = Vec::new();
        while let Some(line) = written.recv().await {
            found.push(line);
        }
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [most, 1, 4, 4]);
    }
}
