//! A stack of its own for a test, run as users run it: by `echoctl up --release`.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::echo::Echo;

pub struct Stack {
    echo: Echo,
    pub state: PathBuf,
    child: Child,
}

impl Deref for Stack {
    type Target = Echo;

    fn deref(&self) -> &Echo {
        &self.echo
    }
}

/// The folder that a test's stacks share; removed when the test ends.
pub struct StateDir(pub PathBuf);

impl StateDir {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("e2e-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

impl Stack {
    /// Starts a stack and waits until it says that it is ready.
    pub async fn start(state: &Path, port: u16) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_echoctl"))
            .args(["up", "--release", "--port", &port.to_string(), "--state"])
            .arg(state)
            .current_dir(root())
            .env_remove("ECHO_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(url) = line.strip_prefix("ready ") {
                    return url.to_owned();
                }
            }
            panic!("echoctl up ended before it was ready");
        };
        let url = tokio::time::timeout(Duration::from_secs(600), ready).await.expect("ready in time");
        // Whatever it still says must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let echo = Echo::new(&url, ("demo-service", "demo-service-secret-for-local-use-only"));
        Self { echo, state: state.into(), child }
    }

    /// Runs echoctl against this stack; its exit code and what it prints.
    pub async fn echoctl(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_echoctl"));
        let output = command.args(arguments).env("ECHO_URL", &self.url).output().await.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub fn run(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.state.join("run.json")).unwrap()).unwrap()
    }

    /// The processes that run under a name.
    pub fn pids(&self, name: &str) -> Vec<u32> {
        let run = self.run();
        let processes = run["processes"].as_array().unwrap();
        let named = processes.iter().filter(|process| process["name"] == name);
        named.map(|process| u32::try_from(process["pid"].as_u64().unwrap()).unwrap()).collect()
    }

    /// SIGKILL to the runner alone: whatever else ends must end by itself.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and waits for the orderly end.
    pub async fn stop(mut self) {
        signal(self.child.id().unwrap(), "TERM");
        let status = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await.expect("stops").unwrap();
        assert!(status.success(), "{status}");
    }
}

pub fn signal(pid: u32, signal: &str) {
    let pid = pid.to_string();
    assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}
