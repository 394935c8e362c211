//! The log store's formats: lines in compressed blocks, a header before each, traces by posting.
//!
//! A line is an OTLP `LogRecord`; a block is an OTLP `LogsData` message in zstd, so whatever reads OTLP reads blocks.
//! Way in: [`block`] packs and unpacks, [`header`] says what is in a block, [`posting`] which blocks have a trace,
//! [`key`] where everything lies, [`settings`] what an org wants kept. docs/logs.md has it byte by byte.

pub mod block;
pub mod header;
pub mod key;
pub mod line;
pub mod posting;
pub mod settings;

/// What is stored is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block is damaged: {0}")]
pub struct Damaged(pub &'static str);
