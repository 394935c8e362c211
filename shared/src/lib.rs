//! What two or more of Echo's functions need, and nothing else.
//!
//! Way in: [`event`] is the envelope everything travels in, [`queue`] publishes and settles it, [`table`] is the thin
//! layer over DynamoDB, [`token`] signs and verifies, [`http`] is the common front door, [`audit`] the audit log and its
//! proofs, [`log`] the log store's blocks.
//! [`metric`] counts.
//! Time and randomness are parameters ([`clock`], [`entropy`]); configuration is read once ([`config`]).

pub mod audit;
pub mod aws;
pub mod causes;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod event;
pub mod http;
pub mod log;
pub mod metric;
pub mod queue;
pub mod seal;
pub mod secret;
pub mod start;
pub mod table;
pub mod telemetry;
pub mod token;
