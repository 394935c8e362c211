//! How much one request may hold, and why it is not decoded.

use std::fmt::Display;

use echo_shared::http::Problem;
use http::StatusCode;

/// The most log records in one request.
pub(crate) const MAX_RECORDS: usize = 20_000;
/// The most resources, and the most scopes, in one request.
pub(crate) const MAX_GROUPS: usize = 2_000;
/// The most attributes and elements of arrays in one request.
pub(crate) const MAX_VALUES: usize = 200_000;
/// The deepest value in a value.
pub(crate) const MAX_DEPTH: usize = 16;
/// The most characters of a reason: a parser's may repeat what it stumbled over.
const MAX_REASON: usize = 300;

/// Why a body is not decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// It is not what it should be.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    /// It would take too much to decode it.
    #[error("the body has more than {most} {what}; send less at once")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are accepted.
        most: usize,
    },
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        let (status, kind) = match error {
            DecodeError::Malformed(_) => (StatusCode::BAD_REQUEST, "invalid-body"),
            DecodeError::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
        };
        Self::new(status, kind, error.to_string())
    }
}

impl DecodeError {
    /// Values beyond [`MAX_DEPTH`].
    pub(crate) fn deep() -> Self {
        Self::Malformed(format!("values are nested more than {MAX_DEPTH} deep"))
    }
}

/// Records that cannot be read, and are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spoilt {
    /// How many.
    pub count: usize,
    /// What is wrong with the first.
    pub reason: Option<String>,
}

impl Spoilt {
    /// A record, if it can be read; counted if not.
    pub(crate) fn take<T, E: Display>(&mut self, record: Result<T, E>) -> Option<T> {
        let error = match record {
            Ok(record) => return Some(record),
            Err(error) => error,
        };
        self.count += 1;
        self.reason.get_or_insert_with(|| format!("a record: {error}").chars().take(MAX_REASON).collect());
        None
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `ResourceLogs`.
    Resources,
    /// `ScopeLogs`.
    Scopes,
    /// `LogRecord`.
    Records,
    /// Attributes and elements of arrays.
    Values,
}

/// What has been counted so far.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    resources: usize,
    scopes: usize,
    records: usize,
    values: usize,
}

impl Limits {
    /// Counts some more.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn count(&mut self, kind: Kind, more: usize) -> Result<(), DecodeError> {
        let (count, most, what) = match kind {
            Kind::Resources => (&mut self.resources, MAX_GROUPS, "resources"),
            Kind::Scopes => (&mut self.scopes, MAX_GROUPS, "scopes"),
            Kind::Records => (&mut self.records, MAX_RECORDS, "records"),
            Kind::Values => (&mut self.values, MAX_VALUES, "attributes and values"),
        };
        *count += more;
        if *count > most { Err(DecodeError::TooMany { what, most }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_REASON, Spoilt};

    #[test]
    fn records_that_cannot_be_read_are_counted() {
        let mut spoilt = Spoilt::default();
        assert_eq!(spoilt.take(Ok::<_, String>(1)), Some(1));
        assert_eq!(spoilt, Spoilt::default());
        assert_eq!((spoilt.take(Err::<(), _>("é".repeat(1_000))), spoilt.take(Err::<(), _>("x"))), (None, None));
        let reason = spoilt.reason.unwrap();
        assert_eq!((spoilt.count, reason.chars().count()), (2, MAX_REASON));
        assert!(reason.contains('é'), "the first one's");
    }
}
