//! The protocol that clients speak.

pub mod authorize;
pub mod token;
pub mod userinfo;
