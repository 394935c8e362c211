//! A stack of its own for a test, run as users run it: by `echoctl up --release`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub struct Stack {
    pub url: String,
    pub state: PathBuf,
    pub http: reqwest::Client,
    child: Child,
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

fn root() -> PathBuf {
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
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { url, state: state.into(), http, child }
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

    pub async fn service_token(&self) -> String {
        let form = [("grant_type", "client_credentials")];
        let request = self.http.post(format!("{}/oauth2/token", self.url)).form(&form);
        let request = request.basic_auth("demo-service", Some("demo-service-secret-for-local-use-only"));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub async fn authorize(&self, service: &str, subject: &str, action: &str) -> Value {
        let body = json!({"token": subject, "action": action, "resource": {"type": "Document", "id": "d1"}});
        let request = self.http.post(format!("{}/authorize", self.url)).bearer_auth(service).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Sends audit events with these ids.
    pub async fn report(&self, service: &str, ids: &[String]) -> reqwest::Response {
        let event = |id: &String| {
            json!({"specversion": "1.0", "id": id, "type": "audit",
                   "data": {"actor": {"type": "User", "id": "u"}, "action": "e2e.reported", "outcome": "success"}})
        };
        let events: Vec<Value> = ids.iter().map(event).collect();
        let request = self.http.post(format!("{}/events", self.url)).bearer_auth(service).json(&events);
        request.send().await.unwrap()
    }

    /// The whole audit log, through the pages of the API.
    pub async fn audit_log(&self, service: &str) -> Vec<Value> {
        let (mut entries, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut request = self.http.get(format!("{}/audit/v1/events?limit=100", self.url)).bearer_auth(service);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            let page: Value = response.json().await.unwrap();
            entries.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return entries,
            }
        }
    }

    /// Waits until `enough` says so of the audit log; returns it.
    pub async fn audit_log_when(&self, service: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..1_800 {
            let log = self.audit_log(service).await;
            if enough(&log) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the audit log never got there: {:#?}", self.audit_log(service).await);
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

/// How many entries have this member at `pointer`.
pub fn count(log: &[Value], pointer: &str, value: &str) -> usize {
    log.iter().filter(|entry| entry.pointer(pointer).and_then(Value::as_str) == Some(value)).count()
}
