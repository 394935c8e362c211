//! The session cookie: `sid.secret`.

use echo_shared::http::cookies;
use echo_shared::secret::Secret;
use echo_shared::table::TableError;
use echo_shared::telemetry::note_org;
use http::HeaderMap;

use crate::SESSION_SECONDS;
use crate::app::App;
use crate::digest::{same, sha256};
use crate::store::{Session, User};

const COOKIE: &str = "echo_session";

/// Who is signed in.
pub struct SignedIn {
    /// The session.
    pub session: Session,
    /// The person.
    pub user: User,
}

/// Who is signed in, by the request's cookie; the request's log lines learn of the org.
///
/// # Errors
/// When the table fails.
pub async fn current(app: &App, headers: &HeaderMap) -> Result<Option<SignedIn>, TableError> {
    let Some((sid, secret)) = cookies::get(&app.issuer, headers, COOKIE).and_then(|value| value.split_once('.')) else {
        return Ok(None);
    };
    if sid.len() != 32 || !sid.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let found = app.store.session(sid).await?;
    let Some(session) = found.filter(|session| same(&session.secret_sha256, &sha256(secret))) else {
        return Ok(None);
    };
    note_org(&session.org);
    Ok(app.store.user(&session.user_id).await?.map(|user| SignedIn { session, user }))
}

/// The `Set-Cookie` value for a new session.
pub fn cookie(app: &App, session: &Session, secret: &Secret) -> String {
    cookies::set(&app.issuer, COOKIE, &format!("{}.{}", session.id, secret.expose()), SESSION_SECONDS)
}

/// The `Set-Cookie` value that removes the cookie.
pub fn no_cookie(app: &App) -> String {
    cookies::set(&app.issuer, COOKIE, "", 0)
}
