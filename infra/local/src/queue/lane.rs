//! Many callers, one statement: what is asked for while a statement runs becomes the next one.
//!
//! A commit waits for the disk; callers that share one share the wait. Nobody is answered before the commit.

use std::time::Duration;

use sqlx::mysql::{MySql, MySqlDatabaseError, MySqlPool};
use sqlx::pool::PoolConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The server shuts down, closes or was told to kill the connection.
const ENDED: [u16; 3] = [1053, 1080, 1927];
/// A connection that was quiet for so long is tried before it is used.
const QUIET: Duration = Duration::from_secs(1);

/// The next jobs: at least one, and more as long as all together weigh no more than `most`. `None` when nobody is left
/// who could ask. A job that does not fit any more is kept in `left` for the next time.
pub(super) async fn next<J>(
    jobs: &mut mpsc::UnboundedReceiver<J>,
    left: &mut Option<J>,
    most: (usize, usize),
    weigh: impl Fn(&J) -> (usize, usize),
) -> Option<Vec<J>> {
    let first = match left.take() {
        Some(job) => job,
        None => jobs.recv().await?,
    };
    let (mut rows, mut bytes) = weigh(&first);
    let mut batch = vec![first];
    while let Ok(job) = jobs.try_recv() {
        let (more_rows, more_bytes) = weigh(&job);
        rows += more_rows;
        bytes += more_bytes;
        if rows > most.0 || bytes > most.1 {
            *left = Some(job);
            break;
        }
        batch.push(job);
    }
    Some(batch)
}

/// A connection of one's own, replaced when it breaks.
pub(super) struct Link {
    pool: MySqlPool,
    connection: Option<PoolConnection<MySql>>,
    used: Instant,
}

impl Link {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool, connection: None, used: Instant::now() }
    }

    /// The connection: the old one if it still answers.
    pub async fn get(&mut self) -> Result<&mut PoolConnection<MySql>, sqlx::Error> {
        use sqlx::Connection;
        if self.used.elapsed() > QUIET
            && let Some(connection) = &mut self.connection
            && connection.ping().await.is_err()
        {
            self.connection = None;
        }
        self.used = Instant::now();
        if self.connection.is_none() {
            self.connection = Some(self.pool.acquire().await?);
        }
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// The connection failed: the next one is new, unless the failure was the statement's alone.
    pub fn failed(&mut self, error: &sqlx::Error) {
        let number = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        if number.is_none_or(|error| ENDED.contains(&error.number()))
            && let Some(connection) = self.connection.take()
        {
            // Not back to the pool: a statement may be half-way through.
            drop(connection.detach());
        }
    }
}
