//! End to end, with release binaries: a person signs in through the page, a service asks, and every act is in the
//! audit log exactly once, also when processes are killed in between.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod echo;
mod faults;
mod limits;
mod logs;
mod person;
mod samples;
mod scenario;
mod stack;
mod story;
