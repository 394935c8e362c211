//! The audit log's stored form: written by audit-consume, read by query.
//!
//! The Merkle tree over it gets its place here: leaves, tiles and checkpoints.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::clock::sortable;
use crate::event::Envelope;
use crate::event::audit::Record;

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
    /// The entry for an event.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the event's payload.
    pub fn new(event: &Envelope, received_at: OffsetDateTime) -> Result<Self, String> {
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

/// The partition of an org's entries; their sort key starts with [`Entry::time`].
pub fn entries_partition(org: &str) -> String {
    format!("ENTRIES#{org}")
}

/// The partition of an org's markers, one per (source, id): what makes an append idempotent.
pub fn markers_partition(org: &str) -> String {
    format!("MARKERS#{org}")
}
