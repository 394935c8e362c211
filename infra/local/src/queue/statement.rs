//! The SQL. Every statement finds its rows by primary key or reads one queue's rows in order; none needs a lock for
//! longer than itself, and none trusts what the caller believes of a row: it names the receive.
//!
//! Statements with lists are made in few lengths, so that the server prepares each of them once.

use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::query::Query;
use sqlx::types::time::PrimitiveDateTime;
use sqlx::{AssertSqlSafe, MySql};
use time::Duration as Span;

use super::Receipt;
use super::shelf::Stored;

/// Rows in one INSERT: a list of at most ten, or of a multiple of ten.
pub(super) const MOST_INSERTED: usize = 250;
/// Ids in one statement.
pub(super) const MOST_IDS: usize = 500;

const INSERT: &str = "INSERT INTO message_queue (queue, event_type, payload, message_id, status, receive_count, \
    created_at, updated_at, received_at, first_received_at, visible_at) VALUES ";

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A row to store.
pub(super) struct New<'a> {
    pub queue: &'a str,
    pub event_type: &'a str,
    pub body: &'a str,
    pub message_id: &'a str,
    /// How long it is hidden.
    pub hidden: Duration,
    /// Whether it is stored as received, by a receive that waited for it.
    pub received: bool,
}

/// A row as a look at the table finds it.
pub(super) struct Seen {
    pub receipt: Receipt,
    pub size: usize,
    /// How long it is still hidden.
    pub hidden: Span,
    pub state: State,
    /// What it holds; `None` when it is larger than was asked for.
    pub stored: Option<Stored>,
}

/// Whether a row lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Live,
    /// Older than its queue keeps messages.
    Expired,
    /// Deleted, and kept for people to read.
    Done,
}

/// The database's clock.
pub(super) async fn now(connection: &mut MySqlConnection) -> Result<PrimitiveDateTime> {
    sqlx::query_scalar("SELECT NOW(6)").fetch_one(connection).await
}

/// Stores rows at `now`; the id of the first, the others follow it.
pub(super) async fn insert(connection: &mut MySqlConnection, now: PrimitiveDateTime, rows: &[New<'_>]) -> Result<i64> {
    let mut sql = String::from(INSERT);
    for n in 0..rows.len() {
        sql.push_str(if n == 0 { "" } else { ", " });
        sql.push_str("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    }
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for row in rows {
        query = query.bind(row.queue).bind(row.event_type).bind(row.body).bind(row.message_id);
        query = query.bind(if row.received { "IN_PROGRESS" } else { "NEW" }).bind(i32::from(row.received));
        query = query.bind(now).bind(now).bind(now).bind(now).bind(now + row.hidden);
    }
    let done = query.execute(connection).await?;
    Ok(i64::try_from(done.last_insert_id()).unwrap_or(i64::MAX))
}

/// Leases those of `ids` whose newest receive is `generation`, at `now` until `visible_at`. Returns how many.
pub(super) async fn lease(
    connection: &mut MySqlConnection,
    queue: &str,
    generation: i64,
    ids: &[i64],
    (now, visible_at, oldest): (PrimitiveDateTime, PrimitiveDateTime, PrimitiveDateTime),
) -> Result<u64> {
    let set = "UPDATE message_queue FORCE INDEX (PRIMARY) SET \
        first_received_at = IF(receive_count > 0, first_received_at, ?), retry_count = receive_count, \
        receive_count = LEAST(receive_count, 2147483646) + 1, status = IF(status = 'FAILED', 'FAILED', 'IN_PROGRESS'), \
        received_at = ?, updated_at = ?, visible_at = ? \
        WHERE queue = ? AND receive_count = ? AND status <> 'DONE' AND created_at > ? AND ";
    let sql = listed(set, ids);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(now).bind(now).bind(now).bind(visible_at);
    let query = query.bind(queue).bind(generation).bind(oldest);
    Ok(bound(query, ids).execute(connection).await?.rows_affected())
}

/// What `ids` hold that were leased at `now`.
pub(super) async fn read_leased(
    connection: &mut MySqlConnection,
    queue: &str,
    ids: &[i64],
    now: PrimitiveDateTime,
) -> Result<Vec<(Receipt, Stored)>> {
    let select = format!(
        "SELECT id, CAST(receive_count AS SIGNED), message_id, payload, {}, {}, source_queue \
         FROM message_queue FORCE INDEX (PRIMARY) WHERE queue = ? AND received_at = ? AND status <> 'DONE' AND ",
        millis("created_at"),
        millis("first_received_at"),
    );
    type Row = (i64, i64, String, String, i64, i64, Option<String>);
    let query = sqlx::query_as(AssertSqlSafe(listed(&select, ids))).bind(queue).bind(now);
    let rows: Vec<Row> = padded(ids).fold(query, |query, end| query.bind(end)).fetch_all(connection).await?;
    let stored = |(id, generation, message_id, body, sent_at, first_received_at, source_queue)| {
        (
            Receipt { id, generation },
            Stored { message_id, body, sent_at, first_received_at: Some(first_received_at), source_queue },
        )
    };
    Ok(rows.into_iter().map(stored).collect())
}

/// Deletes those of `ids` whose newest receive is `generation`: marked as done when they are kept for people to read.
/// Returns how many.
pub(super) async fn finish(
    connection: &mut MySqlConnection,
    queue: &str,
    (generation, ids): (i64, &[i64]),
    kept: bool,
) -> Result<u64> {
    let start = match kept {
        true => "UPDATE message_queue FORCE INDEX (PRIMARY) SET status = 'DONE', updated_at = NOW(6)",
        false => "DELETE FROM message_queue",
    };
    let sql = listed(&format!("{start} WHERE queue = ? AND receive_count = ? AND status <> 'DONE' AND "), ids);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(queue).bind(generation);
    Ok(bound(query, ids).execute(connection).await?.rows_affected())
}

/// Those of `ids` that live.
pub(super) async fn which_live(connection: &mut MySqlConnection, ids: &[i64]) -> Result<Vec<i64>> {
    let sql = listed("SELECT id FROM message_queue WHERE status <> 'DONE' AND ", ids);
    let query = sqlx::query_scalar(AssertSqlSafe(sql));
    padded(ids).fold(query, |query, end| query.bind(end)).fetch_all(connection).await
}

/// Those of `ids` that are older than `retention` seconds.
pub(super) async fn which_are_expired(
    connection: &mut MySqlConnection,
    ids: &[i64],
    retention: u64,
) -> Result<Vec<i64>> {
    let condition = "created_at <= NOW(6) - INTERVAL ? SECOND";
    let sql = listed(&format!("SELECT id FROM message_queue WHERE {condition} AND "), ids);
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(retention);
    padded(ids).fold(query, |query, end| query.bind(end)).fetch_all(connection).await
}

/// The newest row's id.
pub(super) async fn last_id(connection: &mut MySqlConnection) -> Result<i64> {
    let sql = "SELECT CAST(COALESCE(MAX(id), 0) AS SIGNED) FROM message_queue";
    sqlx::query_scalar(sql).fetch_one(connection).await
}

/// How long ago a row was stored.
pub(super) async fn age(connection: &mut MySqlConnection, id: i64) -> Result<Option<Duration>> {
    let sql = "SELECT CAST(GREATEST(TIMESTAMPDIFF(SECOND, created_at, NOW(6)), 0) AS UNSIGNED) \
        FROM message_queue WHERE id = ?";
    let age: Option<u64> = sqlx::query_scalar(sql).bind(id).fetch_optional(connection).await?;
    Ok(age.map(Duration::from_secs))
}

/// How many rows a queue has after `from`; deleted ones are counted, too.
pub(super) async fn count(connection: &mut MySqlConnection, queue: &str, from: i64) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM message_queue FORCE INDEX (message_queue_in_order) \
        WHERE queue = ? AND id > ?";
    sqlx::query_scalar(sql).bind(queue).bind(from).fetch_one(connection).await
}

/// The ids of a queue's live rows after `from` up to `to`, in order; at most `most`.
pub(super) async fn live_ids(
    connection: &mut MySqlConnection,
    queue: &str,
    from: i64,
    to: i64,
    most: usize,
) -> Result<Vec<i64>> {
    let sql = "SELECT id FROM message_queue FORCE INDEX (message_queue_in_order) \
        WHERE queue = ? AND id > ? AND id <= ? AND status <> 'DONE' ORDER BY id LIMIT ?";
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    sqlx::query_scalar(sql).bind(queue).bind(from).bind(to).bind(most).fetch_all(connection).await
}

/// Hides those of `receipts` that are the newest receive of their message for `seconds` from now. Returns how many.
pub(super) async fn hide(
    connection: &mut MySqlConnection,
    queue: &str,
    (generation, ids): (i64, &[i64]),
    seconds: u64,
) -> Result<u64> {
    let set = "UPDATE message_queue FORCE INDEX (PRIMARY) SET visible_at = NOW(6) + INTERVAL ? SECOND, \
        updated_at = NOW(6) WHERE queue = ? AND receive_count = ? AND status <> 'DONE' AND ";
    let query = sqlx::query(AssertSqlSafe(listed(set, ids))).bind(seconds).bind(queue).bind(generation);
    Ok(bound(query, ids).execute(connection).await?.rows_affected())
}

/// Notes why those of `receipts` that are the newest receive of their message could not be handled.
pub(super) async fn note(
    connection: &mut MySqlConnection,
    queue: &str,
    (generation, ids): (i64, &[i64]),
    reason: &str,
) -> Result<u64> {
    let set = "UPDATE message_queue FORCE INDEX (PRIMARY) SET last_error = ?, updated_at = NOW(6) \
        WHERE queue = ? AND receive_count = ? AND status <> 'DONE' AND ";
    let query = sqlx::query(AssertSqlSafe(listed(set, ids))).bind(reason).bind(queue).bind(generation);
    Ok(bound(query, ids).execute(connection).await?.rows_affected())
}

/// Whether a message hidden for `seconds` from now would be hidden for longer than `most` seconds after its receive;
/// `None` when the receipt is not its newest receive.
pub(super) async fn is_too_long(
    connection: &mut MySqlConnection,
    queue: &str,
    receipt: Receipt,
    (seconds, most): (u64, u64),
) -> Result<Option<bool>> {
    let sql = "SELECT CAST(NOW(6) + INTERVAL ? SECOND > received_at + INTERVAL ? SECOND AS SIGNED) \
        FROM message_queue WHERE id = ? AND queue = ? AND receive_count = ? AND status <> 'DONE'";
    let query = sqlx::query_scalar(sql).bind(seconds).bind(most).bind(receipt.id).bind(queue).bind(receipt.generation);
    let too_long: Option<i64> = query.fetch_optional(connection).await?;
    Ok(too_long.map(|too_long| too_long == 1))
}

/// Moves those of `ids` that were received so often to their dead-letter queue. They keep id, body, count and the time they were sent.
pub(super) async fn bury(
    connection: &mut MySqlConnection,
    (queue, target): (&str, &str),
    receives: u32,
    ids: &[i64],
    reason: &str,
) -> Result<u64> {
    let set = "UPDATE message_queue FORCE INDEX (PRIMARY) SET source_queue = queue, queue = ?, status = 'FAILED', \
        visible_at = NOW(6), updated_at = NOW(6), last_error = COALESCE(last_error, ?) \
        WHERE queue = ? AND receive_count >= ? AND status <> 'DONE' AND ";
    let sql = listed(set, ids);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(target).bind(reason).bind(queue).bind(receives);
    Ok(bound(query, ids).execute(connection).await?.rows_affected())
}

/// A queue's rows after `from`, in order; at most `most`, with bodies of up to `bytes` each.
pub(super) async fn look(
    connection: &mut MySqlConnection,
    (queue, retention): (&str, u64),
    from: i64,
    most: u32,
    bytes: u32,
) -> Result<Vec<Seen>> {
    let sql = format!(
        "SELECT id, CAST(receive_count AS SIGNED), CAST(OCTET_LENGTH(payload) AS SIGNED), \
         CAST(COALESCE(TIMESTAMPDIFF(MICROSECOND, NOW(6), LEAST(visible_at, NOW(6) + INTERVAL 12 HOUR)), 0) AS SIGNED), \
         CASE WHEN status = 'DONE' THEN 'done' WHEN created_at <= NOW(6) - INTERVAL ? SECOND THEN 'expired' \
         ELSE 'live' END, message_id, {}, {}, source_queue, IF(OCTET_LENGTH(payload) <= ?, payload, NULL) \
         FROM message_queue FORCE INDEX (message_queue_in_order) WHERE queue = ? AND id > ? ORDER BY id LIMIT ?",
        millis("created_at"),
        millis("first_received_at"),
    );
    type Row = (i64, i64, i64, i64, String, String, i64, i64, Option<String>, Option<String>);
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(retention).bind(bytes).bind(queue).bind(from).bind(most);
    let rows: Vec<Row> = query.fetch_all(connection).await?;
    let seen = |row: Row| {
        let (id, generation, size, hidden, state, message_id, sent_at, first_received_at, source_queue, body) = row;
        let first_received_at = (generation > 0).then_some(first_received_at);
        Seen {
            receipt: Receipt { id, generation },
            size: usize::try_from(size).unwrap_or_default(),
            hidden: Span::microseconds(hidden),
            state: match state.as_str() {
                "done" => State::Done,
                "expired" => State::Expired,
                _ => State::Live,
            },
            stored: body.map(|body| Stored { message_id, body, sent_at, first_received_at, source_queue }),
        }
    };
    Ok(rows.into_iter().map(seen).collect())
}

/// Removes `ids` for good, those that are as `only` says.
pub(super) async fn remove(connection: &mut MySqlConnection, only: Only<'_>, ids: &[i64]) -> Result<u64> {
    let (condition, queue, retention) = match only {
        Only::Done => ("status = 'DONE'", None, None),
        Only::Live(queue) => ("status <> 'DONE' AND queue = ?", Some(queue), None),
        Only::Expired(queue, retention) => (
            "status <> 'DONE' AND queue = ? AND created_at <= NOW(6) - INTERVAL ? SECOND",
            Some(queue),
            Some(retention),
        ),
    };
    let sql = listed(&format!("DELETE FROM message_queue WHERE {condition} AND "), ids);
    let mut query = sqlx::query(AssertSqlSafe(sql));
    query = if let Some(queue) = queue { query.bind(queue) } else { query };
    query = if let Some(retention) = retention { query.bind(retention) } else { query };
    Ok(bound(query, ids).execute(connection).await?.rows_affected())
}

/// Which rows may be removed.
#[derive(Clone, Copy)]
pub(super) enum Only<'a> {
    /// Deleted ones.
    Done,
    /// Live ones of a queue.
    Live(&'a str),
    /// Live ones of a queue that are older than so many seconds.
    Expired(&'a str, u64),
}

fn millis(column: &str) -> String {
    format!("COALESCE(TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', {column}), 0) DIV 1000")
}

/// Ids as ranges: neighbours were stored together, are claimed together and deleted together as a rule, and a range is
/// found at once. There is a power of two of them; the last one fills what is left.
fn ranges(ids: &[i64]) -> Vec<(i64, i64)> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some((_, end)) if *end >= id - 1 => *end = id,
            _ => ranges.push((id, id)),
        }
    }
    if let Some(&last) = ranges.last() {
        ranges.resize(ranges.len().next_power_of_two(), last);
    }
    ranges
}

fn listed(start: &str, ids: &[i64]) -> String {
    format!("{start}({})", vec!["id BETWEEN ? AND ?"; ranges(ids).len()].join(" OR "))
}

fn padded(ids: &[i64]) -> impl Iterator<Item = i64> {
    ranges(ids).into_iter().flat_map(|(first, last)| [first, last])
}

fn bound<'q>(query: Query<'q, MySql, MySqlArguments>, ids: &[i64]) -> Query<'q, MySql, MySqlArguments> {
    padded(ids).fold(query, |query, end| query.bind(end))
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn ids_are_few_ranges() {
        assert_eq!(ranges(&[7]), [(7, 7)]);
        assert_eq!(ranges(&[3, 1, 2, 2]), [(1, 3)]);
        assert_eq!(ranges(&[1, 5, 6, 9]), [(1, 1), (5, 6), (9, 9), (9, 9)]);
    }
}
