//! Small statements that lose a lock race are simply done again.

use std::time::Duration;

use echo_shared::entropy::Entropy;
use sqlx::mysql::MySqlDatabaseError;
use tokio::time::sleep;

/// Deadlock, lock wait timeout, and a row changed under a snapshot (MariaDB 11.6 and later).
const LOCK_ERRORS: [u16; 3] = [1213, 1205, 1020];
const ATTEMPTS: u32 = 6;

/// How often something was tried.
#[derive(Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// Whether to try again after `error`: it was a lost lock race, and not the last attempt. Waits a short random time
    /// first, so that those who met do not meet again.
    pub async fn again(&mut self, error: &sqlx::Error, entropy: &Entropy) -> bool {
        if self.0 + 1 >= ATTEMPTS || !is_lock_error(error) {
            return false;
        }
        let [jitter] = entropy.bytes();
        let most = 2_u64 << self.0;
        tracing::debug!(attempt = self.0, %error, "lock race lost");
        sleep(Duration::from_micros(most * 1000 * (u64::from(jitter) + 1) / 256)).await;
        self.0 += 1;
        true
    }
}

fn is_lock_error(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| LOCK_ERRORS.contains(&error.number()))
}
