//! The one failure that every boundary shares: a part of Echo does not work.

use echo_shared::queue::PublishError;
use echo_shared::table::TableError;
use echo_shared::token::SignError;

use crate::keys::KeyError;
use crate::password::PasswordError;

/// A part that the answer needs does not work; nobody's request is at fault. Never shown to the caller.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// DynamoDB.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The queue.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Signing.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Password hashing.
    #[error(transparent)]
    Password(#[from] PasswordError),
}
