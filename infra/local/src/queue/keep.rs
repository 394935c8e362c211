//! Reading on: a shelf that has room is filled from the table, and what other hands wrote is found.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::lane::Link;
use super::shelf::Found;
use super::statement::{self, Seen, State};
use super::{Queue, Shared};

/// Rows read at a time, and the largest bodies read along with them; larger ones are read as they are claimed.
const MOST_READ: u32 = 1_000;
const LARGEST_READ: u32 = 16_384;
/// How often the end of the table is looked at, for what others may have written there.
const POLL: Duration = Duration::from_millis(500);
/// How often the patrol takes its next steps, and how many rows it passes then.
const PATROL: Duration = Duration::from_secs(2);
const PATROLLED: u32 = 2_000;
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
        match look(queue, link, id - 1, 1, 0).await {
            Ok(rows) => {
                let now = Instant::now();
                let found = live(rows, now).find(|found| found.receipt.id == id);
                queue.shelf().correct(id, found, now);
            }
            Err(error) => {
                let mut shelf = queue.shelf();
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

/// Reads as long as there is room and something to read; at least the end of the table.
async fn read_on(shared: &Shared, queue: &Queue, link: &mut Link) -> Result<(), sqlx::Error> {
    loop {
        let (from, full) = {
            let shelf = queue.shelf();
            (shelf.reads_from().unwrap_or(shelf.cursor()), shelf.is_full())
        };
        if full {
            return Ok(());
        }
        let begin = Instant::now();
        let rows = look(queue, link, from, MOST_READ, LARGEST_READ).await?;
        let last = rows.len() < MOST_READ as usize;
        let to = rows.last().map_or(from, |row| row.receipt.id);
        let ids = |state| rows.iter().filter(move |row| row.state == state).map(|row| row.receipt.id).collect();
        shared.history().add(ids(State::Done));
        let expired: Vec<i64> = ids(State::Expired);
        if !expired.is_empty() {
            let only = statement::Only::Expired(&queue.spec.name, queue.spec.retention.as_secs());
            statement::remove(link.get().await?, only, &expired).await?;
        }
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

/// Walks over rows that should be known, again and again, and takes in those that are not: other hands wrote them.
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
        let begin = Instant::now();
        let mut rows = look(queue, link, self.at, PATROLLED, 0).await?;
        let more = rows.len() == PATROLLED as usize;
        rows.retain(|row| row.receipt.id <= until);
        self.at = rows.last().map(|row| row.receipt.id).filter(|_| more).unwrap_or_default();
        let live: Vec<i64> = live(rows, begin).map(|found| found.receipt.id).collect();
        let unknown = queue.shelf().unknown(&live);
        for id in unknown {
            // It may have been deleted since the look: what is deleted leaves the table before the shelf.
            let again = look(queue, link, id - 1, 1, 0).await?;
            let found = self::live(again, Instant::now()).filter(|found| found.receipt.id == id);
            found.for_each(|found| queue.shelf().adopt(found, Instant::now()));
            queue.wake.notify_one();
        }
        Ok(())
    }
}
