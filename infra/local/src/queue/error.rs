//! What can go wrong at a queue.

/// Why an operation on a queue did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// There is no such queue.
    #[error("the queue `{0}` does not exist")]
    NoSuchQueue(String),
    /// The receipt handle was not made by this queue.
    #[error("the receipt handle is not valid for this queue")]
    InvalidHandle,
    /// The message is gone, or was received again since.
    #[error("the message does not exist or is not available for a visibility timeout change")]
    NotAvailable,
    /// The message would be hidden for more than 12 hours after its receive.
    #[error("the total visibility timeout is beyond 43200 seconds")]
    TooLong,
    /// The queue was purged less than 60 seconds ago.
    #[error("Only one PurgeQueue operation on {0} is allowed every 60 seconds.")]
    PurgeInProgress(String),
    /// So many messages were received and not deleted that no more can be.
    #[error("more than 120000 messages are in flight: delete what was handled")]
    OverLimit,
    /// The database is away or overloaded; the same call may succeed later.
    #[error("the queue's database is unavailable: {0}")]
    Unavailable(String),
}

impl QueueError {
    pub(super) fn unread() -> Self {
        Self::Unavailable("the table cannot be read".into())
    }

    pub(super) fn stopped() -> Self {
        Self::Unavailable("the queue is stopping".into())
    }
}

impl From<&sqlx::Error> for QueueError {
    fn from(error: &sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// SQS takes no empty messages.
    #[error("the message body is empty")]
    Empty,
    /// The message is larger than its queue takes.
    #[error("the message is {size} bytes long; the queue takes {limit}")]
    TooLarge {
        /// The message's size in bytes.
        size: usize,
        /// The queue's limit in bytes.
        limit: usize,
    },
    /// The body holds a character that XML 1.0 does not know.
    #[error("the message body holds the character U+{0:04X}, which SQS does not take")]
    Character(u32),
}
