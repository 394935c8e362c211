//! What ingest, the consumers and query ask of DynamoDB and SQS, judged as IAM does: the right to insert is none to overwrite.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};

use aws_sdk_dynamodb::operation::execute_statement::ExecuteStatementError;
use aws_sdk_dynamodb::operation::execute_transaction::ExecuteTransactionError;
use aws_sdk_dynamodb::types::{AttributeValue, ParameterizedStatement};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use echo_local::dynamodb;
use echo_shared::aws::Aws;
use echo_shared::config::Env;
use echo_shared::log::key::HOUR;
use echo_shared::log::line::Severity;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Right, argument, granted, resources, right, template};
use crate::echo::{Echo, consume, consume_logs};
use crate::{logs, s3};

const WRITER: &str = "AuditConsumeFunction";
const LOG_WRITER: &str = "LogConsumeFunction";
const READER: &str = "QueryFunction";

/// IAM, as far as DynamoDB and SQS ask it.
struct Iam {
    /// The tables' logical ids by their names.
    tables: BTreeMap<String, String>,
    granted: BTreeMap<String, BTreeSet<Right>>,
}

impl Iam {
    fn read() -> Self {
        let template = template();
        let tables = resources(&template).filter(|(_, resource)| resource["Type"] == "AWS::DynamoDB::Table");
        let tables = tables.map(|(id, resource)| {
            let name = argument(&resource["Properties"]["TableName"]);
            (name.replace("${AWS::StackName}", "echo"), id.to_owned())
        });
        Self { tables: tables.collect(), granted: granted() }
    }

    /// Whether a function's role lets it ask this.
    fn allows(&self, function: &str, operation: &str, body: &Value) -> bool {
        let asked = self.asked(operation, body);
        assert!(!asked.is_empty(), "{operation} {body}");
        asked.is_subset(&self.granted[function])
    }

    /// What IAM is asked for: the right of each statement of PartiQL ("IAM security policies with PartiQL for DynamoDB"
    /// in its Developer Guide) and of each part of a transaction, on each table or index; the right to send also for
    /// a batch ("Amazon SQS API permissions").
    fn asked(&self, operation: &str, body: &Value) -> BTreeSet<Right> {
        let list = |key: &str| body[key].as_array().unwrap().iter();
        match operation {
            "SendMessage" | "SendMessageBatch" => {
                let queue = match body["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap() {
                    "echo-audit" => "AuditQueue",
                    "echo-log" => "LogQueue",
                    other => panic!("{other}"),
                };
                [right("sqs:SendMessage", queue)].into()
            }
            "ExecuteStatement" => [self.statement(body)].into(),
            "ExecuteTransaction" => list("TransactStatements").map(|one| self.statement(one)).collect(),
            "BatchExecuteStatement" => list("Statements").map(|one| self.statement(one)).collect(),
            "TransactWriteItems" => {
                let parts = list("TransactItems").flat_map(|item| item.as_object().unwrap());
                parts.map(|(part, write)| self.right(&format!("{part}Item"), &write["TableName"])).collect()
            }
            "BatchGetItem" | "BatchWriteItem" => {
                let tables = body["RequestItems"].as_object().unwrap().keys();
                tables.map(|table| self.right(operation, &table.as_str().into())).collect()
            }
            _ => {
                let (action, mut table) = self.right(operation, &body["TableName"]);
                if let Some(index) = body["IndexName"].as_str() {
                    table = format!("{table}/index/{index}");
                }
                [(action, table)].into()
            }
        }
    }

    fn statement(&self, request: &Value) -> Right {
        let statement = request["Statement"].as_str().unwrap();
        let action = match statement.split_whitespace().next().unwrap() {
            "INSERT" => "PartiQLInsert",
            "UPDATE" => "PartiQLUpdate",
            "DELETE" => "PartiQLDelete",
            _ => "PartiQLSelect",
        };
        self.right(action, &statement.split('"').nth(1).unwrap().into())
    }

    fn right(&self, action: &str, table: &Value) -> Right {
        right(&format!("dynamodb:{action}"), &self.tables[table.as_str().unwrap()])
    }
}

/// DynamoDB and SQS, written down.
#[derive(Clone, Default)]
struct Recorder {
    /// Where they are, once they are there.
    targets: Arc<OnceLock<[String; 2]>>,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Recorder {
    /// All functions, with the recorder before their tables and queues; and what makes more clients of it.
    async fn start() -> (Echo, Self, Aws) {
        let recorder = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(forward).with_state(recorder.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let get = |key: &str| match key {
            "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
            "AWS_REGION" => Some("us-east-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
            _ => None,
        };
        let aws = || Env::from_fn(get).read(Aws::read).unwrap();
        let echo = Echo::behind(Some(aws())).await;
        recorder.targets.set([echo.table_endpoint().to_owned(), echo.queue_endpoint().to_owned()]).unwrap();
        (echo, recorder, aws())
    }

    /// What was asked of IAM.
    fn asked(&self, iam: &Iam) -> BTreeSet<Right> {
        self.requests.lock().unwrap().iter().flat_map(|(operation, body)| iam.asked(operation, body)).collect()
    }
}

async fn forward(State(recorder): State<Recorder>, mut headers: HeaderMap, body: Bytes) -> Response {
    let [tables, queues] = recorder.targets.get().unwrap();
    let (service, operation) = headers["x-amz-target"].to_str().unwrap().split_once('.').unwrap();
    let target = if service == "AmazonSQS" { queues } else { tables };
    recorder.requests.lock().unwrap().push((operation.into(), serde_json::from_slice(&body).unwrap()));
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let answer = reqwest::Client::new().post(target).headers(headers).body(body).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap()).into_response()
}

fn event(id: usize) -> String {
    json!({
        "specversion": "1.0", "id": id.to_string(), "source": "/test", "type": "audit", "org": "demo",
        "time": "2026-01-01T00:00:00Z", "data": {
            "actor": {"type": "User", "id": "u"}, "action": "document.read", "outcome": "success",
            "resource": {"type": "Document", "id": "d"},
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_consume_asks_for_what_it_may() {
    let (echo, recorder, aws) = Recorder::start().await;
    let events: Vec<String> = (0..300).map(event).collect();
    let (some, rest) = events.split_at(200);
    for (key, batch) in [(1, some), (2, rest), (2, some)] {
        // Each is a cold instance: the second one has to read what the first has left of a tile.
        assert_eq!(consume(&echo.consumer(key, Some(aws.dynamodb())), batch).await, [0usize; 0]);
    }
    let (bucket, _) = s3::start("permissions").await;
    assert_eq!(audit_consume::copy(&echo.audit.heads, &bucket.s3(), "b").await.unwrap(), 1);
    let iam = Iam::read();
    let granted = iam.granted[WRITER].iter().filter(|(action, _)| action.starts_with("dynamodb:"));
    assert_eq!(recorder.asked(&iam), granted.cloned().collect());
}

/// Blocks of log lines of an hour: some to be folded and one that is not.
fn blocks(hour: u64) -> Vec<String> {
    let line =
        |n: u64| LogRecord { trace_id: logs::trace(n).into(), ..logs::record(hour + n, Severity::Info, "a line") };
    let small = (1..4).map(|n| logs::block(vec![logs::of("web", vec![line(n)])]));
    small.chain([logs::large_block(hour, 1)]).map(|block| logs::event("demo", &block, 30)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_consume_asks_for_what_it_may() {
    let (echo, recorder, _) = Recorder::start().await;
    let events = blocks(echo.hour());
    // The second time there is nothing left to be written.
    for _ in 0..2 {
        assert_eq!(echo.keep(&events).await, [0usize; 0]);
    }
    let iam = Iam::read();
    let granted = iam.granted[LOG_WRITER].iter().filter(|(action, _)| action.starts_with("dynamodb:"));
    assert_eq!(recorder.asked(&iam), granted.cloned().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_asks_for_what_it_may() {
    let (echo, recorder, _) = Recorder::start().await;
    let line = logs::record(echo.hour(), Severity::Info, "a line");
    assert_eq!(echo.send_otlp(vec![logs::of("web", vec![line])]).await.0, 0);
    let mut event: Value = serde_json::from_str(&event(1)).unwrap();
    event.as_object_mut().unwrap().retain(|name, _| !["source", "org"].contains(&name.as_str()));
    assert_eq!(echo.post("ingest", "/events", &echo.token(|_| {}), &event).await.0, 202);
    let iam = Iam::read();
    assert_eq!(recorder.asked(&iam), iam.granted["IngestFunction"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn query_asks_for_what_it_may() {
    let (echo, recorder, _) = Recorder::start().await;
    let events: Vec<String> = (0..300).map(event).collect();
    assert_eq!(consume(&echo.consumer(1, None), &events).await, [0usize; 0]);
    let hour = echo.hour();
    assert_eq!(consume_logs(&echo.log_consumer(None), &blocks(hour)).await, [0usize; 0]);
    let window = logs::range(hour, hour + HOUR);
    for path in ["query?limit=1", "query?text=line", "stats?"].map(|path| format!("{path}&{window}")) {
        assert!(!logs::items(&echo.read_logs(&path).await).is_empty(), "{path}");
    }
    let trace = format!("traces/{}", logs::hex(&logs::trace(1)));
    assert!(!logs::items(&echo.read_logs(&trace).await).is_empty());
    let token = echo.token(|_| {});
    for path in [
        "events",
        "events?actor=u",
        "events?action=document.read",
        "events?resource=Document/d",
        "events/7",
        "export",
        "keys",
        "proofs/inclusion?index=7",
        "proofs/consistency?from=100",
        "log/demo/checkpoint",
        "log/demo/tile/0/000",
        "log/demo/tile/0/001.p/44",
        "log/demo/tile/1/000.p/1",
        "log/demo/tile/entries/000",
        "log/demo/entries/000",
    ] {
        let (status, answer) = echo.get("query", &format!("/audit/v1/{path}"), &token).await;
        assert_eq!(status, 200, "{path} {answer}");
    }
    let iam = Iam::read();
    assert_eq!(recorder.asked(&iam), iam.granted[READER]);
}

#[test]
fn the_audit_log_cannot_be_overwritten_or_deleted_by_its_writer() {
    let table = "echo-audit_log";
    let insert = format!("INSERT INTO \"{table}\" VALUE {{'pk': 'p', 'sk': 's', 'outcome': 'success'}}");
    let update = format!("UPDATE \"{table}\" SET outcome = 'denied' WHERE pk = 'p' AND sk = 's'");
    let delete = format!("DELETE FROM \"{table}\" WHERE pk = 'p' AND sk = 's'");
    let transaction = |statements: &[&str]| {
        let statements: Vec<Value> = statements.iter().map(|text| json!({ "Statement": text })).collect();
        json!({ "TransactStatements": statements })
    };
    let iam = Iam::read();
    assert!(iam.allows(WRITER, "ExecuteStatement", &json!({ "Statement": insert })));
    assert!(iam.allows(WRITER, "ExecuteTransaction", &transaction(&[&insert])));
    let on_table = json!({ "TableName": table });
    let write = |kind: &str| json!({ "TransactItems": [{ kind: { "TableName": table } }] });
    let attempts = [
        ("PutItem", on_table.clone()),
        ("UpdateItem", on_table.clone()),
        ("DeleteItem", on_table.clone()),
        ("BatchWriteItem", json!({ "RequestItems": { table: [] } })),
        ("TransactWriteItems", write("Put")),
        ("TransactWriteItems", write("Update")),
        ("TransactWriteItems", write("Delete")),
        ("ExecuteStatement", json!({ "Statement": update })),
        ("ExecuteStatement", json!({ "Statement": delete })),
        ("BatchExecuteStatement", json!({ "Statements": [{ "Statement": update }] })),
        ("BatchExecuteStatement", json!({ "Statements": [{ "Statement": delete }] })),
        // Whatever else is in it, a transaction is refused as a whole.
        ("ExecuteTransaction", transaction(&[&insert, &update])),
        ("ExecuteTransaction", transaction(&[&insert, &delete])),
        // What is deleted could be inserted anew.
        ("DeleteTable", on_table.clone()),
        ("UpdateTable", on_table.clone()),
        ("UpdateTimeToLive", on_table),
    ];
    for function in iam.granted.keys() {
        for (operation, body) in &attempts {
            assert!(!iam.allows(function, operation, body), "{function}: {operation} {body}");
        }
        let inserts = iam.allows(function, "ExecuteStatement", &json!({ "Statement": insert }));
        assert_eq!(inserts, function == WRITER, "{function}");
    }
}

#[test]
fn the_log_store_is_put_to_by_its_writer_and_read_by_its_reader_alone() {
    let table = "echo-log_store";
    let on_table = json!({ "TableName": table });
    let write = |kind: &str| json!({ "TransactItems": [{ kind: { "TableName": table } }] });
    let select = json!({ "Statement": format!("SELECT * FROM \"{table}\"") });
    let in_batch = json!({ "RequestItems": { table: [] } });
    let attempts = [
        (LOG_WRITER, "PutItem", on_table.clone()),
        (LOG_WRITER, "TransactWriteItems", write("Put")),
        (READER, "Query", on_table.clone()),
        (READER, "BatchGetItem", in_batch.clone()),
        // It deletes, too.
        ("", "BatchWriteItem", in_batch),
        ("", "GetItem", on_table.clone()),
        ("", "Scan", on_table.clone()),
        ("", "UpdateItem", on_table.clone()),
        ("", "DeleteItem", on_table.clone()),
        ("", "TransactWriteItems", write("Update")),
        ("", "TransactWriteItems", write("Delete")),
        ("", "ExecuteStatement", select),
        ("", "DeleteTable", on_table.clone()),
        ("", "UpdateTimeToLive", on_table),
    ];
    let iam = Iam::read();
    for function in iam.granted.keys() {
        for (who, operation, body) in &attempts {
            assert_eq!(iam.allows(function, operation, body), function == who, "{function}: {operation} {body}");
        }
    }
    // And the writer writes nothing else.
    for name in iam.tables.keys().filter(|name| *name != table) {
        for operation in ["PutItem", "UpdateItem", "DeleteItem", "GetItem", "Query", "Scan"] {
            assert!(!iam.allows(LOG_WRITER, operation, &json!({ "TableName": name })), "{operation} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_over_an_item_fails_and_changes_nothing() {
    let echo = Echo::start().await;
    assert_eq!(echo.consume(&[event(1)]).await, [0usize; 0]);
    let client = dynamodb::client(echo.table_endpoint());
    let table = "echo-audit_log";
    let items = async || client.scan().table_name(table).consistent_read(true).send().await.unwrap().items.unwrap();
    let before = items().await;
    assert!(before.len() > 1, "a chunk and a marker");
    for item in &before {
        let statement = format!("INSERT INTO \"{table}\" VALUE {{'pk': ?, 'sk': ?, 'outcome': ?}}");
        let values = vec![item["pk"].clone(), item["sk"].clone(), AttributeValue::S("forged".into())];
        let alone = client.execute_statement().statement(&statement).set_parameters(Some(values.clone()));
        let error = alone.send().await.unwrap_err().into_service_error();
        assert!(matches!(error, ExecuteStatementError::DuplicateItemException(_)), "{error:?}");
        let one = ParameterizedStatement::builder().statement(&statement).set_parameters(Some(values)).build().unwrap();
        let error = client.execute_transaction().transact_statements(one).send().await.unwrap_err();
        let ExecuteTransactionError::TransactionCanceledException(cancelled) = error.into_service_error() else {
            panic!("it must be cancelled")
        };
        assert_eq!(cancelled.cancellation_reasons()[0].code(), Some("DuplicateItem"));
    }
    assert_eq!(items().await, before);
}
