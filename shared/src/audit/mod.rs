//! The audit log: one Merkle tree per org. Written by audit-consume, read by query, checked by echoctl.
//!
//! [`Entry`] is what people see, [`leaf`] what is hashed, [`merkle`] the tree over the leaves, [`note`] the signed
//! head of the tree, [`chunk`] how all of it is stored. docs/audit.md describes the formats.

pub mod chunk;
mod entry;
pub mod leaf;
pub mod merkle;
pub mod note;

pub use entry::{Entry, MAX_AHEAD};
