//! What the database can do at most: the same table, the same rows, one connection each for storing, leasing and
//! removing, statements as large as the queue's were, and nothing around them.

use std::time::Duration;

use sqlx::{AssertSqlSafe, MySqlPool};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Bench, QUEUE, body};
use crate::Failure;

const STORE: &str = "INSERT INTO message_queue (queue, event_type, payload, message_id, created_at, updated_at, \
    visible_at) VALUES ";
const STORED: &str = "(?, 'audit', ?, '01234567-89ab-cdef-0123-456789abcdef', NOW(6), NOW(6), NOW(6))";
const LEASE: &str = "UPDATE message_queue SET receive_count = receive_count + 1, status = 'IN_PROGRESS', \
    received_at = NOW(6), updated_at = NOW(6), visible_at = NOW(6) + INTERVAL 60 SECOND WHERE id IN ";
const REMOVE: &str = "DELETE FROM message_queue WHERE id IN ";

/// Messages a second that are stored, leased and removed, `rows` at a time.
///
/// # Errors
/// When the database fails.
pub async fn run(bench: &Bench, schema: &str, rows: usize, time: Duration) -> Result<f64, Failure> {
    let pool = bench.database(schema).await?;
    let (stored, to_lease) = mpsc::channel(8);
    let (leased, to_remove) = mpsc::channel(8);
    let begin = Instant::now();
    let store = tokio::spawn(store(pool.clone(), rows, begin + time, stored));
    let lease = tokio::spawn(on_ids(pool.clone(), LEASE, to_lease, Some(leased)));
    let remove = tokio::spawn(on_ids(pool, REMOVE, to_remove, None));
    store.await??;
    lease.await??;
    let removed = remove.await??;
    Ok(removed as f64 / begin.elapsed().as_secs_f64())
}

async fn store(pool: MySqlPool, rows: usize, until: Instant, stored: mpsc::Sender<Vec<i64>>) -> Result<(), Failure> {
    let mut connection = pool.acquire().await?;
    let sql = format!("{STORE}{}", vec![STORED; rows].join(", "));
    let body = body();
    while Instant::now() < until {
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        for _ in 0..rows {
            query = query.bind(QUEUE).bind(&body);
        }
        let first = i64::try_from(query.execute(&mut *connection).await?.last_insert_id())?;
        stored.send((first..).take(rows).collect()).await?;
    }
    Ok(())
}

async fn on_ids(
    pool: MySqlPool,
    statement: &'static str,
    mut come: mpsc::Receiver<Vec<i64>>,
    go: Option<mpsc::Sender<Vec<i64>>>,
) -> Result<u64, Failure> {
    let mut connection = pool.acquire().await?;
    let mut changed = 0;
    while let Some(ids) = come.recv().await {
        let sql = format!("{statement}({})", vec!["?"; ids.len()].join(", "));
        let query = ids.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, id| query.bind(id));
        changed += query.execute(&mut *connection).await?.rows_affected();
        if let Some(go) = &go {
            go.send(ids).await?;
        }
    }
    Ok(changed)
}
