//! An entry as people see it.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::clock::sortable;
use crate::event::Envelope;
use crate::event::audit::Record;

/// How far the time of an event may lie ahead: clocks differ, but nothing is reported before it happens.
pub const MAX_AHEAD: Duration = Duration::minutes(10);

/// One entry of an org's audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The event's id.
    pub id: String,
    /// When it happened: RFC 3339 in UTC, microseconds.
    pub time: String,
    /// When the log received it: RFC 3339 in UTC, microseconds.
    pub received_at: String,
    /// The tenant.
    pub org: String,
    /// Who reported it; (`org`, `source`, `id`) is unique in the log.
    pub source: String,
    /// What was reported.
    #[serde(flatten)]
    pub record: Record,
    /// The trace it belongs to, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl Entry {
    /// The entry for an event that is received at `received_at`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the event: its payload, or a time that lies ahead.
    pub fn new(event: &Envelope, received_at: OffsetDateTime) -> Result<Self, String> {
        if event.time > received_at.saturating_add(MAX_AHEAD) {
            let minutes = MAX_AHEAD.whole_minutes();
            return Err(format!("`time` lies more than {minutes} minutes ahead; check the sender's clock"));
        }
        Ok(Self {
            id: event.id.clone(),
            time: sortable(event.time),
            received_at: sortable(received_at),
            org: event.org.clone(),
            source: event.source.clone(),
            record: Record::parse(&event.data)?,
            trace_id: event.trace_id(),
        })
    }
}
