//! `echoctl queue`, run as people and scripts run it, over a real MariaDB behind the local SQS.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::PathBuf;
use std::time::Duration;

use echo_local::mysql::Server;
use echo_local::queue::{Outgoing, Queues, Receive};
use echo_local::spec::{QueueSpec, Redrive};
use echo_local::sqs;
use echo_local::state::{Run, State};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;

struct Stack {
    queues: Queues,
    directory: PathBuf,
    server: Server,
    _state: State,
    _stop: watch::Sender<bool>,
}

impl Stack {
    async fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("queue-{name}-{}", std::process::id()));
        let state = State::open(&directory, true).await.unwrap();
        let log = state.path("logs/mysql.log");
        let server = Server::start(&state.path("mysql"), &directory.join("run"), &log).await.unwrap();
        let redrive = Some(Redrive { target: "echo-jobs-dead".into(), max_receive_count: 1 });
        let specs = vec![QueueSpec { redrive, ..QueueSpec::new("echo-jobs") }, QueueSpec::new("echo-jobs-dead")];
        let queues = Queues::new(server.database("echo").await.unwrap(), specs);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let sqs_endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(sqs::serve(listener, queues.clone(), format!("{sqs_endpoint}/000000000000"), stopped));
        state.record(&Run { sqs_endpoint, ..Run::default() });
        Self { queues, directory, server, _state: state, _stop: stop }
    }

    /// What a command prints and says, and whether it succeeded.
    async fn echoctl(&self, arguments: &[&str]) -> (String, String, bool) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_echoctl"));
        command.arg("queue").args(arguments).arg("--state").arg(&self.directory).kill_on_drop(true);
        let output = command.stdin(std::process::Stdio::null()).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr), output.status.success())
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let (printed, said, fine) = self.echoctl(&[arguments, &["--json"]].concat()).await;
        assert!(fine, "{said}");
        serde_json::from_str(&printed).unwrap()
    }

    /// Messages that were received once too often.
    async fn dead_letters(&self, bodies: &[&str]) {
        let messages: Vec<_> = bodies.iter().map(|&body| Outgoing { body: body.into(), delay: None }).collect();
        self.queues.send("echo-jobs", &messages).await.unwrap();
        let received = self.queues.receive("echo-jobs", Receive::up_to(10)).await.unwrap();
        let receipts: Vec<_> = received.iter().map(|message| message.receipt).collect();
        self.queues.hide("echo-jobs", &receipts, Duration::ZERO).await.unwrap();
        assert!(self.queues.receive("echo-jobs", Receive::up_to(1)).await.unwrap().is_empty());
    }

    async fn stop(self) {
        self.server.stop().await;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_shown_looked_into_sent_back_and_purged() {
    let stack = Stack::start("all").await;
    stack.dead_letters(&["{\"type\":\"audit\"}", "\u{7f} not an event"]).await;
    stack.queues.send("echo-jobs", &[Outgoing { body: "waiting".into(), delay: None }]).await.unwrap();

    let stats = stack.json(&["stats"]).await;
    let (jobs, dead) = (&stats["queues"][0], &stats["queues"][1]);
    assert_eq!((&jobs["queue"], &jobs["ready"], &jobs["failed"]), (&"echo-jobs".into(), &1.into(), &2.into()));
    assert_eq!((&dead["queue"], &dead["ready"], &dead["failed"]), (&"echo-jobs-dead".into(), &2.into(), &Value::Null));
    assert!(jobs["oldest_age_s"].as_u64().is_some());
    let (shown, ..) = stack.echoctl(&["stats", "jobs"]).await;
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.starts_with("QUEUE      READY  DELAYED  IN FLIGHT  OLDEST  FAILED\necho-jobs  1"), "{shown}");

    // A look takes nothing away, and is refused where it would do harm.
    for _ in 0..2 {
        let (shown, said, fine) = stack.echoctl(&["peek", "jobs-dead"]).await;
        assert!(fine, "{said}");
        assert!(shown.contains("echo-jobs ") && shown.contains("\u{fffd} not an event"), "{shown}");
    }
    let (_, said, fine) = stack.echoctl(&["peek", "jobs"]).await;
    assert!(!fine && said.contains("--force"), "{said}");
    let (peeked, ..) = stack.echoctl(&["peek", "jobs-dead", "--limit", "1", "--json"]).await;
    let peeked: Value = serde_json::from_str(peeked.trim()).unwrap();
    assert_eq!((&peeked["body"], &peeked["source"]), (&"{\"type\":\"audit\"}".into(), &"echo-jobs".into()));

    assert_eq!(stack.json(&["redrive", "jobs"]).await["moved"], 2);
    assert_eq!(stack.json(&["redrive", "jobs"]).await["moved"], 0);
    let bodies: Vec<String> = stack
        .queues
        .receive("echo-jobs", Receive::up_to(10))
        .await
        .unwrap()
        .into_iter()
        .map(|message| message.body)
        .collect();
    assert_eq!(bodies, ["waiting", "{\"type\":\"audit\"}", "\u{7f} not an event"]);

    let (_, said, fine) = stack.echoctl(&["purge", "jobs"]).await;
    assert!(!fine && said.contains("--yes"), "{said}");
    assert_eq!(stack.json(&["purge", "jobs", "--yes"]).await["purged"], 3);
    let (_, said, fine) = stack.echoctl(&["purge", "jobs", "--yes"]).await;
    assert!(!fine && said.contains("PurgeQueueInProgress"), "{said}");
    let (_, said, fine) = stack.echoctl(&["peek", "nowhere"]).await;
    assert!(!fine && said.contains("no queue `nowhere`"), "{said}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_what_arrives() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let stack = Stack::start("tail").await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_echoctl"));
    command.args(["queue", "tail", "jobs-dead", "--json", "--state"]).arg(&stack.directory).kill_on_drop(true);
    let mut tail = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(first["stats"]["ready"], 0);
    stack.dead_letters(&["poison"]).await;
    let message = loop {
        let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        if let Some(message) = line.get("message") {
            break message.clone();
        }
    };
    assert_eq!((&message["body"], &message["source"]), (&"poison".into(), &"echo-jobs".into()));
    echo_local::process::signal_group(tail.id().unwrap(), "INT").await;
    drop(tail);
    stack.stop().await;
}

#[tokio::test]
async fn without_a_stack_it_says_what_to_do() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echoctl"));
    let output = command.args(["queue", "stats", "--state", "/nonexistent"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("./scripts/local"));
}
