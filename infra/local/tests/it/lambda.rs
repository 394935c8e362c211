//! Functions that die, hang and fail, as processes under the Runtime API, behind a mapping.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use echo_local::lambda::{Runtime, runtime};
use echo_local::mapping;
use echo_local::queue::{Queues, Receive};
use echo_local::spec::{FunctionSpec, MappingSpec};
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use tokio::sync::watch;

use super::support::{database, folder, one, q_and_dead, send, until_empty};

/// Does what the first record says. SIGKILL is also what the kernel sends when memory runs out.
const FUNCTION: &str = r#"#!/usr/bin/env python3
import http.client, json, os, signal, time

host, path = os.environ['AWS_LAMBDA_RUNTIME_API'].removeprefix('http://').split('/', 1)
base = f"/{path}/2018-06-01/runtime/invocation"
connection = http.client.HTTPConnection(host)


def ask(method, path, body=None):
    connection.request(method, base + path, body)
    answer = connection.getresponse()
    return answer.headers, answer.read()


while True:
    headers, event = ask("GET", "/next")
    what = json.loads(event)["Records"][0]["body"]
    if what == "hang":
        time.sleep(3600)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        os._exit(0)
    answer = {"error": {"errorType": "Boom", "errorMessage": "boom"}, "http": {"statusCode": 500}}.get(what)
    if what == "nonsense":
        answer = {"batchItemFailures": [{"itemIdentifier": ""}]}
    kind = "error" if what == "error" else "response"
    ask("POST", f"/{headers['Lambda-Runtime-Aws-Request-Id']}/{kind}", json.dumps(answer))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_answered_for_is_deleted() {
    let folder = folder("lambda");
    let bootstrap = folder.join("functions/f/bootstrap");
    std::fs::create_dir_all(bootstrap.parent().unwrap()).unwrap();
    std::fs::write(&bootstrap, FUNCTION).unwrap();
    std::fs::set_permissions(&bootstrap, std::fs::Permissions::from_mode(0o755)).unwrap();
    let timeout = Duration::from_secs(1);
    let function = FunctionSpec { name: "f".into(), timeout, memory: 128, environment: BTreeMap::new() };
    let options = runtime::Options {
        binaries: folder.join("functions"),
        logs: folder.clone(),
        environment: BTreeMap::new(),
        clock: Clock::system(),
        entropy: Entropy::system(),
        listener: None,
    };
    let runtime = Runtime::start(&BTreeMap::from([("f".into(), function)]), options).await.unwrap();
    let queues = Queues::new(database().await, q_and_dead(2, 2));
    let (stop, stopped) = watch::channel(false);
    let mapping = MappingSpec {
        queue: "q".into(),
        function: "f".into(),
        batch_size: 1,
        window: Duration::ZERO,
        report_failures: true,
        max_concurrency: 2,
    };
    let task = tokio::spawn(mapping::run(mapping, queues.clone(), runtime.clone(), stopped));
    let failing = ["hang", "killed", "exit", "error", "nonsense"];
    send(&queues, &failing).await;
    // An answer in HTTP's shape reports no failure, here as on AWS.
    send(&queues, &["fine", "http"]).await;
    let mut dead = Vec::new();
    while dead.len() < failing.len() {
        let letter = one(&queues, "dead").await;
        // Two deliveries, and the receive of the dead letter.
        assert_eq!(letter.receive_count, 3, "{}", letter.body);
        dead.push(letter.body);
    }
    dead.sort();
    assert_eq!(dead, ["error", "exit", "hang", "killed", "nonsense"]);
    // The others may be waiting for an instance to be started again.
    until_empty(&queues).await;
    let more = queues.receive("dead", Receive::up_to(1)).await.unwrap();
    assert!(more.is_empty(), "{more:?}");
    stop.send_replace(true);
    task.await.unwrap();
    runtime.stop().await;
}
