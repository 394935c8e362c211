//! The local cloud under test: real MariaDB, real SDKs, no fixed ports.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by panicking"
)]

mod alarms;
mod audit;
mod calls;
mod contract;
mod echo;
mod faults;
mod functions;
mod lambda;
mod line;
mod logs;
mod mapping;
mod mysql;
mod permissions;
mod power;
mod queue;
mod s3;
mod samples;
mod sqs;
mod support;
mod unreachable;
