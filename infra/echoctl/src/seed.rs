//! The demo organisation: made by `up`, and only there.

/// The admin.
pub const ALICE: &str = "alice@demo.test";
/// The member.
pub const BOB: &str = "bob@demo.test";
/// Their password.
pub const PASSWORD: &str = "correct-horse-battery-staple";
/// The public client.
pub const SPA_ID: &str = "demo-spa";
/// The confidential client.
pub const SERVICE_ID: &str = "demo-service";
/// Its secret.
pub const SERVICE_SECRET: &str = "demo-service-secret-for-local-use-only";
