//! The deployed stack, without a cloud: `sam deploy` of the built template into MiniStack with its roles enforced, then
//! what every Echo must do, over the deployed API.
//!
//! Not run by a plain `cargo test`: it needs `sam build` first. `./scripts/test --deploy` does both.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod cloud;
mod deployment;
#[path = "../e2e/echo.rs"]
mod echo;
#[path = "../e2e/person.rs"]
mod person;
#[path = "../e2e/story.rs"]
mod story;
