//! Passwords: Argon2id with 19 MiB, two passes, one lane (OWASP), in PHC strings.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use echo_shared::entropy::Entropy;
use echo_shared::secret::Secret;

/// Memory in KiB.
const MEMORY: u32 = 19_456;
/// Passes.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// A stored hash that asks for more memory (in KiB) or passes than this is refused: it would be a bomb.
const MOST: (u32, u32) = (262_144, 10);
/// Verified when there is no user, so that this costs the same. No password fits it.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The stored hash is unusable, or hashing failed.
    #[error("password hash: {0}")]
    Hash(#[from] password_hash::Error),
    /// The parameters are not accepted.
    #[error("password hash: parameters out of bounds")]
    Parameters,
    /// The thread that hashes was lost.
    #[error("password hashing was interrupted")]
    Worker,
}

/// What checking a password showed.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fits.
    Right,
    /// It fits, but its hash is not what [`hash`] would make today.
    RightButOutdated,
    /// It does not fit, or there is nobody whom it could fit.
    Wrong,
}

/// The PHC string for a new password. Takes tens of milliseconds, on a thread of its own.
///
/// # Errors
/// When hashing fails.
pub async fn hash(entropy: &Entropy, password: Secret) -> Result<String, PasswordError> {
    let salt = entropy.bytes::<16>();
    let work = move || Ok(argon2()?.hash_password_with_salt(password.expose().as_bytes(), &salt)?.to_string());
    tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Worker)?
}

/// Holds `password` against the `stored` PHC string; without one, does the same work and answers [`Verdict::Wrong`].
///
/// # Errors
/// When the stored string is unusable.
pub async fn check(stored: Option<String>, password: Secret) -> Result<Verdict, PasswordError> {
    let work = move || {
        let verdict = verify(stored.as_deref().unwrap_or(NOBODY), &password)?;
        Ok(if stored.is_some() { verdict } else { Verdict::Wrong })
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Worker)?
}

fn verify(stored: &str, password: &Secret) -> Result<Verdict, PasswordError> {
    let stored = PasswordHash::new(stored).map_err(password_hash::Error::from)?;
    let params = Params::try_from(&stored)?;
    if params.m_cost() > MOST.0 || params.t_cost() > MOST.1 || params.p_cost() > LANES {
        return Err(PasswordError::Parameters);
    }
    match argon2()?.verify_password(password.expose().as_bytes(), &stored) {
        Ok(()) if is_current(&stored, &params) => Ok(Verdict::Right),
        Ok(()) => Ok(Verdict::RightButOutdated),
        Err(password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(error) => Err(error.into()),
    }
}

fn is_current(stored: &PasswordHash, params: &Params) -> bool {
    stored.algorithm == Algorithm::Argon2id.ident()
        && stored.version == Some(Version::V0x13.into())
        && (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY, PASSES, LANES)
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(|_| PasswordError::Parameters)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use echo_shared::entropy::Entropy;
    use echo_shared::secret::Secret;

    use super::{NOBODY, Verdict, check, hash};

    fn secret() -> Secret {
        Secret::new("correct-horse-battery-staple")
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let stored = hash(&Entropy::system(), secret()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(check(Some(stored.clone()), secret()).await.unwrap(), Verdict::Right);
        assert_eq!(check(Some(stored), Secret::new("other")).await.unwrap(), Verdict::Wrong);
        assert_eq!(check(None, secret()).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_weaker_hash_is_outdated_and_a_bomb_is_refused() {
        use argon2::{Argon2, Params, PasswordHasher};
        let weak = Argon2::from(Params::new(8, 1, 1, None).unwrap());
        let stored = weak.hash_password_with_salt(secret().expose().as_bytes(), &[1; 16]).unwrap().to_string();
        assert_eq!(check(Some(stored), secret()).await.unwrap(), Verdict::RightButOutdated);
        let bomb = NOBODY.replace("m=19456", "m=4000000");
        assert!(check(Some(bomb), secret()).await.is_err());
        assert!(check(Some("junk".into()), secret()).await.is_err());
    }
}
