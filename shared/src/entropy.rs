//! Randomness as a parameter: the one place that draws it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use uuid::Uuid;

/// Where a component takes random bytes from. Cheap to clone.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Entropy {
    /// The operating system's generator, through aws-lc.
    #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
    pub fn system() -> Self {
        Self(Arc::new(|bytes| {
            if aws_lc_rs::rand::fill(bytes).is_err() {
                // Nothing below may go on with predictable secrets.
                std::process::abort();
            }
        }))
    }

    /// A source that a test controls.
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// 256 random bits in base64url: a code, a session secret, a client secret.
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// A UUID version 7 (RFC 9562 section 5.7) for `now`.
    pub fn uuid_v7(&self, now: OffsetDateTime) -> Uuid {
        let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }
}
