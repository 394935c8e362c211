//! What a request has read, and how much it may.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use echo_shared::log::key::Id;
use serde_json::{Value, json};

use super::json::rfc3339;
use crate::json::set;

/// Damage that was logged. Whoever asks again every second does not fill the log, which may hold the damaged block.
static LOGGED: Mutex<BTreeSet<Id>> = Mutex::new(BTreeSet::new());
/// So many are logged at most.
const MOST_LOGGED: usize = 1_000;

/// What one request may read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Days whose headers are asked for.
    pub days: usize,
    /// Bytes of headers, or of postings; DynamoDB answers 1 MB at once.
    pub headers: usize,
    /// Blocks unpacked.
    pub blocks: usize,
    /// Bytes of them, unpacked.
    pub unpacked: usize,
    /// Bytes of a page's lines: Lambda carries 6 MB of JSON text inside of JSON.
    pub page: usize,
}

/// The limits in production.
pub(crate) const LIMITS: Limits =
    Limits { days: 40, headers: 10_000_000, blocks: 64, unpacked: 24_000_000, page: 2_000_000 };

impl Limits {
    /// The limits for reading anew what a request could read before: something may have come in between.
    pub(crate) fn again(self) -> Self {
        let Self { days, headers, blocks, unpacked, page } = self;
        Self { days: days * 2, headers: headers * 2, blocks: blocks * 2, unpacked: unpacked * 2, page }
    }
}

/// What one request has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Days whose headers were asked for.
    pub days: usize,
    /// Headers.
    pub headers: usize,
    /// Bytes of them.
    pub header_bytes: usize,
    /// Blocks unpacked.
    pub blocks: usize,
    /// Bytes of blocks and postings as they are stored.
    pub stored: usize,
    /// Bytes of blocks, unpacked.
    pub unpacked: usize,
    /// Blocks, headers and postings that are not what was written.
    pub damaged: BTreeSet<Id>,
}

impl Spent {
    /// Whether no more headers may be read.
    pub(crate) fn headers_over(&self, limits: &Limits) -> bool {
        self.days >= limits.days || self.header_bytes >= limits.headers
    }

    /// Whether no more blocks may be read, when so many times the limit is allowed.
    pub(crate) fn blocks_over(&self, limits: &Limits, times: usize) -> bool {
        self.blocks >= limits.blocks * times || self.unpacked >= limits.unpacked * times
    }

    /// Reports damage.
    pub(crate) fn damage(&mut self, id: Id, cause: &dyn std::fmt::Display) {
        if self.damaged.insert(id) && is_new(&LOGGED, id) {
            tracing::error!(block = %id, %cause, "log store damaged");
        }
    }

    /// An answer: the items and what they cost. Damage does not end a search: it is named beside what was found.
    pub(crate) fn answer(&self, items: Vec<Value>, scanned_to: Option<u64>) -> Value {
        let damaged: Vec<String> = self.damaged.iter().map(ToString::to_string).collect();
        let bytes = self.header_bytes + self.stored;
        let mut answer =
            json!({ "items": items, "headers_read": self.headers, "bytes_read": bytes, "damaged": damaged });
        if let Some(time) = scanned_to {
            set(&mut answer, "scanned_to", rfc3339(time));
        }
        answer
    }
}

/// Whether this was not logged by this process.
fn is_new(logged: &Mutex<BTreeSet<Id>>, id: Id) -> bool {
    let mut logged = logged.lock().unwrap_or_else(PoisonError::into_inner);
    logged.len() < MOST_LOGGED && logged.insert(id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use echo_shared::log::key::Id;
    use serde_json::json;

    use super::{LIMITS, MOST_LOGGED, Spent, is_new};

    #[test]
    fn damage_is_logged_once_and_not_without_end() {
        let logged = Mutex::new(BTreeSet::new());
        let id = |n: usize| Id::of(&n.to_be_bytes());
        assert!(is_new(&logged, id(0)) && !is_new(&logged, id(0)));
        assert_eq!((1..2 * MOST_LOGGED).filter(|n| is_new(&logged, id(*n))).count(), MOST_LOGGED - 1);
    }

    #[test]
    fn limits_are_reached_one_by_one() {
        let spent = Spent { days: 39, header_bytes: 9_999_999, blocks: 63, unpacked: 23_999_999, ..Spent::default() };
        assert!(!spent.headers_over(&LIMITS) && !spent.blocks_over(&LIMITS, 1));
        assert!(Spent { days: 40, ..spent.clone() }.headers_over(&LIMITS));
        assert!(Spent { header_bytes: 10_000_000, ..spent.clone() }.headers_over(&LIMITS));
        assert!(Spent { blocks: 64, ..spent.clone() }.blocks_over(&LIMITS, 1));
        let much = Spent { unpacked: 24_000_000, ..spent };
        assert!(much.blocks_over(&LIMITS, 1) && !much.blocks_over(&LIMITS, 2));
    }

    #[test]
    fn answers_say_what_they_cost_and_lack() {
        let mut spent = Spent { headers: 2, header_bytes: 30, stored: 5, ..Spent::default() };
        spent.damage(Id([1; 16]), &"why");
        spent.damage(Id([1; 16]), &"again");
        let expected = json!({
            "items": [1], "headers_read": 2, "bytes_read": 35, "damaged": ["01".repeat(16)],
            "scanned_to": "1970-01-01T00:00:00.000000009Z",
        });
        assert_eq!(spent.answer(vec![json!(1)], Some(9)), expected);
        assert!(spent.answer(Vec::new(), None).get("scanned_to").is_none());
    }
}
