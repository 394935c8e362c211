//! Reading on: a shelf that has room is filled from the table, and what other hands wrote is found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::lane::Link;
use super::shelf::Found;
use super::statement::{self, Seen, State};
use super::{Queue, Shared};

/// Rows read at a time, few enough that claims beside it do not feel it; and the largest bodies read along with them,
/// larger ones are read as they are claimed.
const MOST_READ: u32 = 200;
const LARGEST_READ: u32 = 16_384;
/// How often the end of the table is looked at, for what others may have written there.
const POLL: Duration = Duration::from_millis(500);
/// How often the patrol takes its next steps, and how many rows it passes then.
const PATROL: Duration = Duration::from_secs(1);
const PATROLLED: u32 = 1_000;
/// A pause while the database is away.
const AWAY: Duration = Duration::from_millis(200);

/// Keeps a queue's shelf filled until it is aborted.
pub(super) async fn run(shared: Arc<Shared>, queue: Arc<Queue>) {
    let mut link = Link::new(shared.pool.clone());
    let mut patrol = Patrol { at: 0, until: 0, due: Instant::now() + PATROL };
    loop {
        let done = match work(&shared, &queue, &mut link).await {
            Ok(()) if patrol.due <= Instant::now() => patrol.step(&queue, &mut link).await,
            done => done,
        };
        let pause = match done {
            Ok(()) => POLL,
            Err(error) => {
                tracing::debug!(queue = queue.spec.name, %error, "cannot read the table");
                link.failed(&error);
                AWAY
            }
        };
        let _ = timeout(pause, queue.look.notified()).await;
    }
}

async fn work(shared: &Shared, queue: &Queue, link: &mut Link) -> Result<(), sqlx::Error> {
    read_anew(queue, link).await?;
    read_on(shared, queue, link).await
}

/// Rows that were not as they were believed to be.
async fn read_anew(queue: &Queue, link: &mut Link) -> Result<(), sqlx::Error> {
    let doubtful = queue.shelf().doubtful();
    for (n, &id) in doubtful.iter().enumerate() {
        let read = match look(queue, link, id - 1, 1, 0).await {
            Ok(rows) => expire(queue, link, &rows).await.map(|()| rows),
            error => error,
        };
        let mut shelf = queue.shelf();
        match read {
            Ok(rows) => {
                let now = Instant::now();
                shelf.correct(id, live(rows, now).find(|found| found.receipt.id == id), now);
            }
            Err(error) => {
                doubtful.iter().skip(n).for_each(|&id| shelf.mistrust(id));
                return Err(error);
            }
        }
    }
    if !doubtful.is_empty() {
        queue.wake.notify_one();
    }
    Ok(())
}

/// Removes rows that are older than the queue keeps messages.
async fn expire(queue: &Queue, link: &mut Link, rows: &[Seen]) -> Result<(), sqlx::Error> {
    let expired: Vec<i64> = ids(rows, State::Expired);
    if !expired.is_empty() {
        let only = statement::Only::Expired(&queue.spec.name, queue.spec.retention.as_secs());
        statement::remove(link.get().await?, only, &expired).await?;
    }
    Ok(())
}

fn ids(rows: &[Seen], state: State) -> Vec<i64> {
    rows.iter().filter(|row| row.state == state).map(|row| row.receipt.id).collect()
}

/// Reads as long as there is room and something to read; at least the end of the table.
async fn read_on(shared: &Shared, queue: &Queue, link: &mut Link) -> Result<(), sqlx::Error> {
    loop {
        let (from, tail, full) = {
            let shelf = queue.shelf();
            (shelf.reads_from().unwrap_or(shelf.cursor()), shelf.tail(), shelf.is_full())
        };
        if full {
            return Ok(());
        }
        let begin = Instant::now();
        let rows = look(queue, link, from, MOST_READ, LARGEST_READ).await?;
        let last = rows.len() < MOST_READ as usize;
        let to = rows.last().map_or(from, |row| row.receipt.id);
        // What was left in the table before this look and is not found now is gone.
        let to = if last { to.max(tail) } else { to };
        shared.history().add(ids(&rows, State::Done));
        expire(queue, link, &rows).await?;
        queue.shelf().read(live(rows, begin).collect(), to, last, begin);
        queue.looked.notify_waiters();
        queue.wake.notify_one();
        if last {
            return Ok(());
        }
    }
}

async fn look(queue: &Queue, link: &mut Link, from: i64, most: u32, bytes: u32) -> Result<Vec<Seen>, sqlx::Error> {
    let which = (queue.spec.name.as_str(), queue.spec.retention.as_secs());
    statement::look(link.get().await?, which, from, most, bytes).await
}

fn live(rows: Vec<Seen>, begin: Instant) -> impl Iterator<Item = Found> {
    let live = rows.into_iter().filter(|row| row.state == State::Live);
    live.map(move |row| {
        let visible_at = begin + Duration::try_from(row.hidden).unwrap_or_default();
        Found { receipt: row.receipt, size: row.size, visible_at, stored: row.stored }
    })
}

/// Walks over rows that should be known, again and again, and has those read anew that are not as the shelf says: other
/// hands wrote or removed them.
struct Patrol {
    at: i64,
    /// What was stored since the last step is not looked at: it may be on its way to the shelf.
    until: i64,
    due: Instant,
}

impl Patrol {
    async fn step(&mut self, queue: &Queue, link: &mut Link) -> Result<(), sqlx::Error> {
        self.due = Instant::now() + PATROL;
        let until = std::mem::replace(&mut self.until, queue.shelf().cursor());
        let rows = look(queue, link, self.at, PATROLLED, 0).await?;
        let more = rows.len() == PATROLLED as usize;
        let to = rows.last().filter(|_| more).map_or(until, |row| row.receipt.id.min(until));
        let live: BTreeSet<i64> = ids(&rows, State::Live).into_iter().filter(|id| *id <= to).collect();
        let different = {
            let mut shelf = queue.shelf();
            let different = shelf.differences(&live, self.at, to);
            different.iter().for_each(|&id| shelf.mistrust(id));
            !different.is_empty()
        };
        self.at = if more && to < until { to } else { 0 };
        // A difference may be gone by now; reading it anew tells.
        if different { read_anew(queue, link).await } else { expire(queue, link, &rows).await }
    }
}
