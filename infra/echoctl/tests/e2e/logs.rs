//! Echo's own lines come into its log store by themselves: a trace id of the audit log leads to them.

use std::process::Stdio;
use std::time::Duration;

use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::log::line::Severity;
use echo_shared::secret::Secret;
use echo_shared::table::Table;
use login::admin::{NewClient, put_client};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::echo::Echo;
use super::faults;
use super::stack::{Stack, signal};

/// The functions that bring lines into the store.
const QUIET: [&str; 2] = ["ingest", "log-consume"];

/// What `path` answers.
async fn ask(echo: &Echo, token: &str, path: &str) -> Value {
    let request = echo.http.get(format!("{}/logs/v1/{path}", echo.url)).bearer_auth(token);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert!(answer["items"].is_array(), "{answer}");
    answer
}

/// The items that `path` answers, once `enough` says so of them; waits for a minute at most.
async fn items_when(echo: &Echo, path: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let token = echo.service_token().await;
    let mut last = Value::Null;
    for _ in 0..600 {
        last = ask(echo, &token, path).await;
        let items = last["items"].as_array().unwrap();
        if enough(items) {
            return items.clone();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{path} never got there: {last:#}");
}

/// The service of an organisation that has written nothing.
async fn stranger(stack: &Stack) -> Echo {
    let (id, secret) = ("stranger", "a-secret-of-a-stranger-for-local-use-only");
    let dynamodb = echo_local::dynamodb::client(stack.run()["dynamodb_endpoint"].as_str().unwrap());
    let store = login::Store::new(Table::new(dynamodb, "echo-login"), Clock::system(), Entropy::system());
    let client = NewClient {
        id: id.into(),
        name: "Stranger".into(),
        org: "elsewhere".into(),
        secret: Some(Secret::new(secret)),
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: vec!["client_credentials".into()],
        scopes: vec!["logs.read".into()],
        resources: Vec::new(),
    };
    assert!(put_client(&store, client).await.unwrap());
    Echo::new(&stack.url, (id, secret))
}

/// After the story: who signed in and what was decided, from the audit log to the lines and back.
pub async fn a_trace_of_the_audit_log_leads_to_lines(stack: &Stack) {
    let stranger = stranger(stack).await;
    let strangers = stranger.service_token().await;
    let log = stack.audit_log(&stack.service_token().await).await;
    for (action, function) in [("login.succeeded", "login"), ("decision.allow", "authorize")] {
        let entry = log.iter().find(|entry| entry["action"] == action).unwrap();
        let trace = entry["trace_id"].as_str().unwrap();
        let path = format!("traces/{trace}");
        let wrote = |line: &&Value| line["service"] == function;
        let lines = items_when(stack, &path, |lines| lines.iter().any(|line| wrote(&line))).await;
        assert!(lines.iter().all(|line| line["trace_id"] == trace), "{lines:#?}");
        assert!(lines.iter().filter(wrote).all(|line| line["attributes"]["request_id"].is_string()), "{lines:#?}");
        let others = ask(&stranger, &strangers, &path).await;
        assert_eq!(others["items"], json!([]), "{others}");

        let (code, told) = stack.echoctl(&["logs", "trace", trace, "--json"]).await;
        assert_eq!(code, 0, "{told}");
        let parts = objects(&told);
        assert!(parts.iter().any(|part| part["log"]["service"] == function), "{told}");
        assert!(parts.iter().any(|part| part["audit"]["id"] == entry["id"]), "{told}");
        let (code, shown) = stack.echoctl(&["logs", "trace", trace, "--no-color"]).await;
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains(function) && shown.contains(action), "{shown}");
    }
}

/// JSON objects, one a line.
fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends a line as a program does.
async fn send(stack: &Stack, service: &str, body: &str) {
    let service = json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]});
    let line = json!({"severityNumber": 17, "body": {"stringValue": body}});
    let logs = json!({"resourceLogs": [{"resource": service, "scopeLogs": [{"logRecords": [line]}]}]});
    let request = stack.http.post(format!("{}/v1/logs", stack.url)).bearer_auth(stack.service_token().await);
    assert_eq!(request.json(&logs).send().await.unwrap().status(), 200);
}

/// A program sends lines through the gateway, and finds them.
pub async fn lines_of_others_are_found(stack: &Stack) {
    send(stack, "e2e-shop", "the till is stuck").await;
    let found = items_when(stack, "query?service=e2e-shop&severity=ERROR", |lines| !lines.is_empty()).await;
    assert_eq!((found.len(), &found[0]["body"]), (1, &"the till is stuck".into()));
}

/// Who follows is shown each line once; who asks later finds and counts the same.
pub async fn lines_are_followed(stack: &Stack) {
    let of = ["--json", "--service", "e2e-bank"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_echoctl"));
    command.args(["logs", "tail", "-f"]).args(of).env("ECHO_URL", &stack.url).kill_on_drop(true);
    let mut tail = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // The look that finds the second finds the first again.
    for body in ["first", "second"] {
        send(stack, "e2e-bank", body).await;
        let line = timeout(Duration::from_secs(60), lines.next_line()).await.expect("it is shown").unwrap().unwrap();
        assert_eq!(objects(&line)[0]["body"], body, "{line}");
    }
    signal(tail.id().unwrap(), "INT");
    let status = timeout(Duration::from_secs(10), tail.wait()).await.expect("it ends").unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(lines.next_line().await.unwrap(), None);

    let (code, found) = stack.echoctl(&[&["logs", "query"], &of[..]].concat()).await;
    assert_eq!(code, 0, "{found}");
    assert_eq!(objects(&found).iter().map(|line| &line["body"]).collect::<Vec<_>>(), ["second", "first"]);
    let (code, counted) = stack.echoctl(&[&["logs", "stats"], &of[..]].concat()).await;
    assert_eq!(code, 0, "{counted}");
    let counts = objects(&counted);
    let counts = counts[0]["items"].as_array().unwrap();
    assert_eq!(counts.iter().map(|count| count["lines"].as_u64().unwrap()).sum::<u64>(), 2, "{counted}");
}

/// What the store says of storing lines is not stored in turn: there would be no end to it.
pub async fn lines_bring_no_lines(stack: &Stack) {
    // Own lines come one after the other: with this one, those from before are there.
    let (trace, token) = ("00000000000000000000000000e2e001", stack.service_token().await);
    let request = stack.http.get(format!("{}/audit/v1/events?limit=1", stack.url)).bearer_auth(&token);
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    items_when(stack, &format!("traces/{trace}"), |lines| !lines.is_empty()).await;

    for function in QUIET {
        let mut cursor = String::new();
        loop {
            let page = ask(stack, &token, &format!("query?service={function}&limit=100{cursor}")).await;
            for line in page["items"].as_array().unwrap() {
                assert!(line["severity_number"].as_i64() >= Some(Severity::Warn.number().into()), "{line}");
            }
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
    }
    let headers = faults::log_headers(stack).await;
    let kinds = || headers.iter().flat_map(|header| header.kinds());
    assert!(kinds().any(|(service, ..)| service == "login"));
    for (service, severity, ..) in kinds() {
        assert!(severity >= Severity::Warn || !QUIET.contains(&service), "{service}: {severity:?}");
    }
}
