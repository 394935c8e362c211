//! Publishing to queues and settling what comes out of them.
//!
//! Functions know two roles: a publisher speaks to SQS through the AWS SDK ([`Publisher`], [`Outbox`]); a worker turns
//! an `SqsEvent` into an `SqsBatchResponse` ([`decode`], [`respond`]). Both are the same in the cloud and on a laptop.

mod outbox;
mod publish;
mod settle;

pub use outbox::{Outbox, OutboxItem, PUBLISHER_HEAD_START, RelayError};
pub use publish::{PublishError, Publisher};
pub use settle::{Batch, SettleError, decode, respond};
