//! Time as a parameter: the one place that reads the wall clock.

use std::sync::Arc;

use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// Where a component takes the time of day from. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// The machine's clock, in UTC.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn system() -> Self {
        Self(Arc::new(OffsetDateTime::now_utc))
    }

    /// A clock that a test moves by itself.
    pub fn from_fn(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment.
    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }

    /// Seconds since 1970, as JWT's NumericDate and DynamoDB's TTL count them.
    pub fn unix(&self) -> i64 {
        self.now().unix_timestamp()
    }
}

/// RFC 3339 in UTC with exactly six fractional digits: such strings sort as the times they name.
pub fn sortable(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    time.to_offset(UtcOffset::UTC).format(&format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::sortable;

    #[test]
    fn sortable_times_have_one_width_and_one_zone() {
        assert_eq!(sortable(datetime!(2026-01-02 03:04:05 +01:00)), "2026-01-02T02:04:05.000000Z");
        assert!(sortable(datetime!(2026-01-02 03:04:05.9 UTC)) < sortable(datetime!(2026-01-02 03:04:06 UTC)));
    }
}
