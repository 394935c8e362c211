//! What reading the log can run into.

use echo_shared::audit::chunk::Damaged;
use echo_shared::http::Problem;
use echo_shared::table::TableError;
use http::StatusCode;

/// Why a part of the log was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The table failed; trying again may help.
    #[error(transparent)]
    Table(#[from] TableError),
    /// What is stored is not what was written; trying again does not help.
    #[error("the stored log is damaged at entry {index}: {cause}")]
    Damaged {
        /// The first entry that is affected.
        index: u64,
        /// What is wrong.
        cause: String,
    },
}

impl ReadError {
    pub(crate) fn damaged(index: u64, cause: impl std::fmt::Display) -> Self {
        Self::Damaged { index, cause: cause.to_string() }
    }

    pub(crate) fn missing(index: u64) -> Self {
        Self::damaged(index, "it is missing")
    }

    /// Damage found at `index`.
    pub(crate) fn at(index: u64) -> impl Fn(Damaged) -> Self {
        move |Damaged(cause)| Self::damaged(index, cause)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Table(error) => Self::unavailable(&error),
            ReadError::Damaged { index, .. } => {
                tracing::error!(%error, "log damaged");
                let detail = format!("{error}; an export goes on behind it, a restored table holds it");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "log-damaged", detail).with("index", index.into())
            }
        }
    }
}
