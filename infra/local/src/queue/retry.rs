//! Small transactions that lose a lock race are simply done again.

use std::future::Future;
use std::time::Duration;

use sqlx::mysql::MySqlDatabaseError;
use tokio::time::sleep;

use super::{QueueError, Queues};

/// Deadlock, lock wait timeout, and a row changed under a snapshot (MariaDB 11.6 and later).
const LOCK_ERRORS: [u16; 3] = [1213, 1205, 1020];
const ATTEMPTS: u32 = 6;

impl Queues {
    /// Runs `work`, again when it lost a lock race, after a short random pause.
    pub(super) async fn retrying<T, F>(&self, work: impl Fn() -> F) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let mut attempt = 0;
        loop {
            match work().await {
                Err(error) if attempt + 1 < ATTEMPTS && is_lock_error(&error) => {
                    let [jitter] = self.0.entropy.bytes();
                    let most = 2_u64 << attempt;
                    tracing::debug!(attempt, %error, "lock race lost");
                    sleep(Duration::from_micros(most * 1000 * (u64::from(jitter) + 1) / 256)).await;
                    attempt += 1;
                }
                result => return Ok(result?),
            }
        }
    }
}

fn is_lock_error(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| LOCK_ERRORS.contains(&error.number()))
}
