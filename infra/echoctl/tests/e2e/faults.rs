//! Faults that are forced: a queue that stops answering, a worker that dies with a batch half done.

use std::path::Path;

use echo_shared::log::header::Header;
use echo_shared::table::Item;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Row};

use super::stack::Stack;

/// The stack's MySQL, seen with a SQL prompt.
pub async fn sql(stack: &Stack) -> MySqlConnection {
    let run = stack.run();
    let socket = run["mysql_socket"].as_str().unwrap();
    MySqlConnectOptions::new().socket(Path::new(socket)).username("root").database("echo").connect().await.unwrap()
}

/// Makes every send wait until [`unlock`].
pub async fn lock(sql: &mut MySqlConnection) {
    sqlx::raw_sql("LOCK TABLES message_queue WRITE").execute(sql).await.unwrap();
}

/// Ends the sends that wait, so that they never happen, and lets the next ones through.
pub async fn drop_waiting_sends_and_unlock(stack: &Stack, locker: &mut MySqlConnection) {
    let mut other = sql(stack).await;
    let waiting = "SELECT id FROM information_schema.processlist WHERE info LIKE 'INSERT INTO message_queue%'";
    for row in sqlx::raw_sql(waiting).fetch_all(&mut other).await.unwrap() {
        let id: i64 = row.get(0);
        let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("KILL {id}"))).execute(&mut other).await;
    }
    sqlx::raw_sql("UNLOCK TABLES").execute(locker).await.unwrap();
}

/// How many events lie in the outbox.
pub async fn outbox(stack: &Stack) -> usize {
    scan(stack, "echo-outbox").await.len()
}

/// How many items the audit log has: chunks, markers, tiles.
pub async fn audit_items(stack: &Stack) -> usize {
    scan(stack, "echo-audit_log").await.len()
}

/// The headers of all blocks in the log store, whoever wrote them.
pub async fn log_headers(stack: &Stack) -> Vec<Header> {
    let items = scan(stack, "echo-log_store").await;
    let headers = items.iter().filter_map(|item| item.get("header")).map(|header| header.as_b().unwrap());
    headers.map(|header| Header::from_bytes(header.as_ref()).unwrap()).collect()
}

async fn scan(stack: &Stack, table: &str) -> Vec<Item> {
    let run = stack.run();
    let client = echo_local::dynamodb::client(run["dynamodb_endpoint"].as_str().unwrap());
    let (mut items, mut start) = (Vec::new(), None);
    loop {
        let scan = client.scan().table_name(table).consistent_read(true).set_exclusive_start_key(start);
        let page = scan.send().await.unwrap();
        items.extend(page.items.unwrap_or_default());
        match page.last_evaluated_key {
            Some(next) => start = Some(next),
            None => return items,
        }
    }
}
