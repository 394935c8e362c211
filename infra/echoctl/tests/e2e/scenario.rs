//! The scenario: one stack, one story, three kills.

use std::time::Duration;

use serde_json::Value;

use super::echo::count;
use super::faults;
use super::person::{self, Browser, PASSWORD};
use super::stack::{Stack, StateDir, is_alive, signal};
use super::{logs, samples, story};

#[tokio::test(flavor = "multi_thread")]
async fn every_act_is_in_the_audit_log_exactly_once() {
    let directory = StateDir::new("scenario");
    let stack = Stack::start(&directory.0, 0).await;
    story::sign_in_and_ask(&stack).await;
    logs::a_trace_of_the_audit_log_leads_to_lines(&stack).await;
    logs::lines_of_others_are_found(&stack).await;
    logs::lines_are_followed(&stack).await;
    the_gateway_answers_hostile_requests_itself(&stack).await;
    let stack = kill_the_runner(stack, &directory).await;
    kill_login_before_it_publishes(&stack).await;
    kill_audit_consume_in_the_middle_of_a_batch(&stack).await;
    samples::get_their_answers(&stack).await;

    let log = stack.audit_log(&stack.service_token().await).await;
    let mut keys: Vec<String> = log.iter().map(|entry| format!("{}#{}", entry["source"], entry["id"])).collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "an event is in the log twice");
    the_log_proves_itself(&stack).await;
    logs::lines_bring_no_lines(&stack).await;
    stop_leaves_nothing(stack).await;
}

async fn the_gateway_answers_hostile_requests_itself(stack: &Stack) {
    let http = &stack.http;
    let url = |path: &str| format!("{}{path}", stack.url);
    for (request, expected) in [
        (http.get(url("/nothing")), 404),
        (http.delete(url("/authorize")), 405),
        (http.get(url("/authorize")), 405),
        (http.post(url("/events")).body(vec![b' '; 11 * 1024 * 1024]), 413),
        (http.get(url("/login")).header("x-long", "x".repeat(11_000)), 431),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), expected, "{}", response.url());
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}

async fn kill_the_runner(stack: Stack, directory: &StateDir) -> Stack {
    let service = stack.service_token().await;
    let ids: Vec<String> = (0..60).map(|n| format!("runner-{n}")).collect();
    assert_eq!(stack.report(&service, &ids).await.status(), 202);
    let port = stack.port();
    let children: Vec<u32> = ["mysql", "login", "audit-consume"].iter().flat_map(|name| stack.pids(name)).collect();
    assert!(children.len() >= 3);
    stack.kill().await;

    let stack = Stack::start(&directory.0, port).await;
    assert!(children.iter().all(|pid| !is_alive(*pid)), "a child outlived the runner and its next start");
    let log = stack.audit_log_when(&service, |log| count(log, "/action", "e2e.reported") >= ids.len()).await;
    for id in &ids {
        assert_eq!(count(&log, "/id", id), 1, "{id}");
    }
    stack
}

async fn kill_login_before_it_publishes(stack: &Stack) {
    let service = stack.service_token().await;
    let before = stack.audit_log_when(&service, |log| count(log, "/action", "login.succeeded") >= 2).await;
    let logins = count(&before, "/action", "login.succeeded");
    let mut sql = faults::sql(stack).await;
    // Whatever relay would do first is done.
    while faults::outbox(stack).await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    faults::lock(&mut sql).await;
    let browser = Browser::new(stack);
    let account = url::Url::parse(&format!("{}/account", stack.url)).unwrap();
    let (answer, ()) = tokio::join!(browser.sign_in(account, "bob@demo.test", PASSWORD), async {
        // The transaction has committed, the queue does not take the event: now login dies.
        while faults::outbox(stack).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for pid in stack.pids("login") {
            signal(pid, "KILL");
        }
        faults::drop_waiting_sends_and_unlock(stack, &mut sql).await;
    });
    assert_eq!(answer.unwrap().status(), 500, "the browser is not told of a success");
    assert_eq!(faults::outbox(stack).await, 1, "the event waits for relay");

    let log = stack.audit_log_when(&service, |log| count(log, "/action", "login.succeeded") > logins).await;
    assert_eq!(count(&log, "/action", "login.succeeded"), logins + 1);
    person::sign_in(stack, "bob@demo.test").await;
}

async fn kill_audit_consume_in_the_middle_of_a_batch(stack: &Stack) {
    for attempt in 0..10 {
        let service = stack.service_token().await;
        let ids: Vec<String> = (0..500).map(|n| format!("consume-{attempt}-{n}")).collect();
        let start = settled(stack).await;
        let workers = stack.pids("audit-consume");
        workers.iter().for_each(|pid| signal(*pid, "STOP"));
        assert_eq!(stack.report(&service, &ids).await.status(), 202);
        workers.iter().for_each(|pid| signal(*pid, "CONT"));
        while faults::audit_items(stack).await == start {
            tokio::task::yield_now().await;
        }
        workers.iter().for_each(|pid| signal(*pid, "STOP"));
        let done = faults::audit_items(stack).await - start;
        workers.iter().for_each(|pid| signal(*pid, "KILL"));
        let log = stack.audit_log_when(&service, |log| ids.iter().all(|id| count(log, "/id", id) > 0)).await;
        for id in &ids {
            assert_eq!(count(&log, "/id", id), 1, "{id}");
        }
        // Every event has a marker, and a transaction takes 98 of them.
        if done < ids.len() {
            return;
        }
    }
    panic!("audit-consume was never caught in the middle of a batch");
}

/// The number of items once nothing is on its way any more.
async fn settled(stack: &Stack) -> usize {
    loop {
        let before = faults::audit_items(stack).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        if faults::audit_items(stack).await == before {
            return before;
        }
    }
}

/// What an auditor does: an export, the key, and the checkpoints off the database, which the second start has copied.
async fn the_log_proves_itself(stack: &Stack) {
    let file = stack.state.join("log.jsonl");
    let (file, copies) = (file.to_str().unwrap(), stack.state.join("s3"));
    let copies = copies.to_str().unwrap();
    let (exported, _) = stack.echoctl(&["audit", "export", "--output", file]).await;
    assert_eq!(exported, 0);
    let keys: Value = serde_json::from_str(std::fs::read_to_string(file).unwrap().lines().last().unwrap()).unwrap();
    let key = keys["keys"][0].as_str().unwrap();

    for source in [&[file][..], &[]] {
        let arguments = [&["audit", "verify", "--json", "--key", key, "--checkpoint", copies], source].concat();
        let (code, said) = stack.echoctl(&arguments).await;
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((code, &said["verified"]), (0, &true.into()), "{said}");
        assert!(said["size"].as_u64() > Some(500) && said["checkpoints"].as_u64() > Some(0), "{said}");
    }

    let text = std::fs::read_to_string(file).unwrap();
    let changed: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(n, line)| match n {
            7 => line.replacen("\"outcome\":\"", "\"outcome\":\"un", 1),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(file, changed.join("\n")).unwrap();
    let (code, said) = stack.echoctl(&["audit", "verify", file, "--json", "--key", key]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["verified"], &said["index"]), (2, &false.into(), &7.into()), "{said}");

    let id = stack.audit_log(&stack.service_token().await).await[0]["id"].as_str().unwrap().to_owned();
    let (code, shown) = stack.echoctl(&["audit", "show", &id, "--json", "--key", key]).await;
    assert!(code == 0 && shown.contains(&id), "{shown}");
}

async fn stop_leaves_nothing(stack: Stack) {
    let run = stack.run();
    let pids: Vec<u32> =
        run["processes"].as_array().unwrap().iter().map(|p| p["pid"].as_u64().unwrap() as u32).collect();
    let runtime = run["runtime_directory"].as_str().unwrap().to_owned();
    let state = stack.state.clone();
    stack.stop().await;
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(!std::path::Path::new(&runtime).exists());
    assert!(!state.join("run.json").exists() && !state.join("env").exists());
}
