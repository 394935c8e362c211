//! Receipt handles.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::QueueError;

/// One receive of one message: the row and which receive it was. Only the newest one can delete or hide the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt {
    pub(super) id: i64,
    pub(super) generation: i64,
}

/// The column's greatest value. Only a hand at the table brings a row there; it stays there then.
const GREATEST: i64 = 2_147_483_647;

impl Receipt {
    /// The row's next receive.
    pub(super) fn next(self) -> Self {
        Self { id: self.id, generation: (self.generation + 1).min(GREATEST) }
    }

    /// The handle that SQS gives out for a receive from `queue`.
    pub fn handle(&self, queue: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}:{queue}", self.id, self.generation))
    }

    /// Reads a handle that `queue` gave out.
    ///
    /// # Errors
    /// When it is none, or another queue's: a message that moved to its dead-letter queue is out of the old handle's
    /// reach.
    pub fn parse(handle: &str, queue: &str) -> Result<Self, QueueError> {
        let decoded = URL_SAFE_NO_PAD.decode(handle).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let read = |text: String| {
            let mut parts = text.splitn(3, ':');
            let receipt = Self { id: parts.next()?.parse().ok()?, generation: parts.next()?.parse().ok()? };
            (parts.next()? == queue).then_some(receipt)
        };
        decoded.and_then(read).ok_or(QueueError::InvalidHandle)
    }
}

#[cfg(test)]
mod tests {
    use super::{QueueError, Receipt};

    #[test]
    fn a_handle_belongs_to_its_queue() {
        let receipt = Receipt { id: 42, generation: 3 };
        let handle = receipt.handle("audit");
        assert_eq!(Receipt::parse(&handle, "audit"), Ok(receipt));
        for (handle, queue) in [(handle.as_str(), "other"), ("", "audit"), ("x", "audit"), ("not base64!", "audit")] {
            assert_eq!(Receipt::parse(handle, queue), Err(QueueError::InvalidHandle), "{handle} {queue}");
        }
    }
}
