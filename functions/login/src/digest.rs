//! SHA-256 of random secrets, and comparison in constant time.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// SHA-256 in base64url: the stored form of secrets that have 256 random bits of their own.
pub fn sha256(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
}

/// The left half of the SHA-256 in base64url: `at_hash` (OpenID Connect Core 1.0 section 3.1.3.6).
pub fn left_half(token: &str) -> String {
    let digest = digest(&SHA256, token.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.as_ref().get(..16).unwrap_or_default())
}

/// Whether both are the same, in a time that tells nothing about where they differ.
pub fn same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{left_half, same};

    #[test]
    fn at_hash_is_the_left_half() {
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(left_half(token), "77QmUPtjPfzWtF2AnpK9RQ");
    }

    #[test]
    fn only_equal_texts_are_the_same() {
        assert!(same("a", "a"));
        assert!(!same("a", "b") && !same("a", "") && !same("a", "aa"));
    }
}
