//! The files in `events/`, given to the functions by `cargo lambda invoke` as a developer gives them.

use std::path::PathBuf;
use std::process::Command;

use echo_local::process::find_program;
use serde_json::Value;

use super::stack::{Stack, root};

/// Invokes every sample of `events/README.md` and holds its answer against the last column.
pub async fn get_their_answers(stack: &Stack) {
    let token = stack.service_token().await;
    let table = std::fs::read_to_string(root().join("events/README.md")).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let samples = rows.map(|row| row.split(" | ").collect::<Vec<_>>()).filter(|cells| cells[0].contains('.'));
    let mut tried = 0;
    for cells in samples {
        let (name, expected) = (cells[0], cells[2]);
        let event = std::fs::read_to_string(root().join(format!("events/{name}.json"))).unwrap();
        let file = stack.state.join("sample.json");
        std::fs::write(&file, event.replace("replace-me", &token)).unwrap();
        let answer = invoke(stack, name.split('.').next().unwrap(), &file);
        let found = match (&answer["statusCode"], &answer["batchItemFailures"]) {
            (Value::Number(status), _) => status.to_string(),
            (_, Value::Array(failures)) if failures.is_empty() => "fails nothing".to_owned(),
            (_, Value::Array(failures)) => format!("fails {}", failures[0]["itemIdentifier"].as_str().unwrap()),
            _ => "nothing".to_owned(),
        };
        assert_eq!(found, expected, "{name}: {answer}");
        tried += 1;
    }
    assert!(tried > 20);
}

fn invoke(stack: &Stack, function: &str, event: &PathBuf) -> Value {
    let own = root().join(".echo/venv/bin/cargo-lambda");
    let program = if own.is_file() { own } else { find_program("cargo-lambda").expect("./scripts/setup installs it") };
    let endpoint = url::Url::parse(stack.run()["lambda_endpoint"].as_str().unwrap()).unwrap();
    let output = Command::new(program)
        .args(["lambda", "invoke", function, "--output-format", "json", "--invoke-address", "127.0.0.1"])
        .args(["--invoke-port", &endpoint.port().unwrap().to_string(), "--data-file"])
        .arg(event)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)))
}

/// A function without configuration ends at once, and says in one line what it lacks.
#[test]
fn functions_do_not_start_without_their_configuration() {
    for (function, lacks) in [
        ("login", "ECHO_ISSUER, LOGIN_TABLE, OUTBOX_TABLE, ECHO_MASTER_KEY, AUDIT_QUEUE_URL, ECHO_STACK"),
        ("authorize", "ECHO_ISSUER, POLICY_TABLE, AUDIT_QUEUE_URL, ECHO_STACK"),
        ("ingest", "ECHO_ISSUER, AUDIT_QUEUE_URL, LOG_QUEUE_URL"),
        ("query", "ECHO_ISSUER, AUDIT_LOG_TABLE, AUDIT_HEAD_TABLE, LOG_STORE_TABLE, AUDIT_QUEUE_URL"),
        (
            "audit-consume",
            "ECHO_ISSUER, ECHO_MASTER_KEY, AUDIT_KEY, AUDIT_LOG_TABLE, AUDIT_HEAD_TABLE, AUDIT_CHECKPOINT_BUCKET, \
             ECHO_STACK",
        ),
        ("log-consume", "LOG_STORE_TABLE, ECHO_STACK"),
        ("relay", "OUTBOX_TABLE, AUDIT_QUEUE_URL, ECHO_STACK"),
    ] {
        let said = refusal(function, &[]);
        let aws = "AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY";
        let mut expected: Vec<&str> = lacks.split(", ").chain(aws.split(", ")).collect();
        expected.sort_unstable();
        let (_, named) = said.trim_end().split_once(": set ").unwrap_or_else(|| panic!("{said}"));
        let mut named: Vec<&str> = named.trim_end_matches(|c: char| !c.is_ascii_uppercase()).split(", ").collect();
        named.sort_unstable();
        assert_eq!(named, expected, "{function}");
    }
}

/// Values that are no URLs, no key or no settings are refused at start, too, in the same line as what is missing.
#[test]
fn functions_do_not_start_with_malformed_configuration() {
    let malformed = [
        ("ECHO_ISSUER", "https://echo.test/"),
        ("ECHO_MASTER_KEY", "c2hvcnQ="),
        ("AUDIT_QUEUE_URL", "echo-audit"),
        ("LOG_QUEUE_URL", "echo-log"),
        ("LOG_SETTINGS", r#"{"default": {"days": 0}}"#),
        ("AWS_ENDPOINT_URL", "localhost:9000"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "tcp://localhost:9000"),
        ("AWS_ENDPOINT_URL_SQS", "http://"),
        ("SSL_CERT_FILE", "/nowhere"),
    ];
    // What is AWS's is every function's.
    let of_aws = |key: &str| key.starts_with("AWS_") || key == "SSL_CERT_FILE";
    for (function, own) in [
        ("login", &["ECHO_ISSUER", "ECHO_MASTER_KEY", "AUDIT_QUEUE_URL"][..]),
        ("authorize", &["ECHO_ISSUER", "AUDIT_QUEUE_URL"]),
        ("ingest", &["ECHO_ISSUER", "AUDIT_QUEUE_URL", "LOG_QUEUE_URL", "LOG_SETTINGS"]),
        ("query", &["ECHO_ISSUER", "AUDIT_QUEUE_URL", "LOG_SETTINGS"]),
        ("audit-consume", &["ECHO_ISSUER", "ECHO_MASTER_KEY"]),
        ("log-consume", &["LOG_SETTINGS"]),
        ("relay", &["AUDIT_QUEUE_URL"]),
    ] {
        let said = refusal(function, &malformed);
        let (missing, wrong) = said.split_once("; correct ").unwrap_or_else(|| panic!("{said}"));
        assert!(missing.contains(": set ") && missing.contains("AWS_REGION"), "{said}");
        for (key, value) in malformed {
            let named = of_aws(key) || own.contains(&key);
            assert_eq!(wrong.contains(&format!("{key} (")), named, "{function}, {key}: {said}");
            assert!(key == "SSL_CERT_FILE" || !said.contains(value), "{said}");
        }
    }
}

/// The one line that a function says before it ends.
fn refusal(function: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new(root().join("target/lambda").join(function).join("bootstrap"))
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the functions are built");
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}
