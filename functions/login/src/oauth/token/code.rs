//! The authorization code grant (RFC 6749 section 4.1.3).
//!
//! Invariant: a code is redeemed at most once. A second try, by the client it was given to, revokes what the first
//! one gave, whatever else is right or wrong about it (RFC 9700 section 4.5). A wrong verifier leaves the code alone:
//! whoever has stolen a code must not be able to burn it.

use echo_shared::table::TableError;
use echo_shared::token::pkce_challenge;

use super::Call;
use super::issue::{self, Subject, Tokens};
use super::refusal::{Failure, OAuthError, Refusal};
use crate::audit::Event;
use crate::digest::same;
use crate::scopes;
use crate::session::SignedIn;
use crate::store::{Client, Code};

/// Exchanges a code for tokens.
pub async fn redeem(call: &Call<'_>, client: &Client) -> Result<Tokens, Failure> {
    if !client.may("authorization_code") {
        let refusal = Refusal::new(OAuthError::UnauthorizedClient, "grant_not_allowed");
        return Err(refusal.because("the client may not use this grant").by(client).into());
    }
    let Some(code) = call.params.get("code") else {
        let refusal = Refusal::new(OAuthError::InvalidRequest, "malformed_request");
        return Err(refusal.because("code is missing").by(client).into());
    };
    let stored = call.app.store.code(code).await?.ok_or_else(|| invalid("code_unknown", client))?;
    if stored.bound.client_id != client.id {
        return Err(invalid("code_of_another_client", client).into());
    }
    if let Some(jti) = &stored.redeemed_by {
        return Err(replayed(call, client, jti).await?.into());
    }
    check(call, client, &stored)?;
    let signed_in = signed_in(call, client, &stored).await?;
    match give(call, client, (code, &stored), &signed_in).await {
        Err(Failure::Unavailable(crate::error::Unavailable::Table(TableError::Condition))) => {
            // Somebody redeemed it between our look and our write.
            let now = call.app.store.code(code).await?;
            match now.and_then(|now| now.redeemed_by) {
                Some(jti) => Err(replayed(call, client, &jti).await?.into()),
                None => Err(invalid("code_expired", client).into()),
            }
        }
        other => other,
    }
}

/// Holds the request against what the code is bound to.
fn check(call: &Call<'_>, client: &Client, stored: &Code) -> Result<(), Refusal> {
    if stored.valid_until <= call.app.clock.unix() {
        return Err(invalid("code_expired", client));
    }
    if call.params.get("redirect_uri") != Some(&stored.bound.redirect_uri) {
        return Err(invalid("redirect_uri_mismatch", client));
    }
    let verifier = call.params.get("code_verifier").unwrap_or_default();
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
        let refusal = Refusal::new(OAuthError::InvalidRequest, "verifier_malformed").by(client);
        return Err(refusal.because("code_verifier has 43 to 128 unreserved characters"));
    }
    if !same(&pkce_challenge(verifier), &stored.bound.challenge) {
        return Err(invalid("verifier_mismatch", client));
    }
    if call.params.get("resource").is_some_and(|resource| resource != call.app.issuer.as_str()) {
        let refusal = Refusal::new(OAuthError::InvalidTarget, "unknown_resource").by(client);
        return Err(refusal.because("resource must be the issuer"));
    }
    Ok(())
}

/// Whoever got the code, while the session lasts.
async fn signed_in(call: &Call<'_>, client: &Client, stored: &Code) -> Result<SignedIn, Failure> {
    let store = &call.app.store;
    let session = store.session(&stored.bound.sid).await?.ok_or_else(|| invalid("session_ended", client))?;
    let user = store.user(&session.user_id).await?;
    let user = user.ok_or_else(|| invalid("session_ended", client).in_session(&session))?;
    Ok(SignedIn { session, user })
}

/// Signs first, then redeems the code, records the grant and its event in one transaction.
async fn give(
    call: &Call<'_>,
    client: &Client,
    (code, stored): (&str, &Code),
    signed_in: &SignedIn,
) -> Result<Tokens, Failure> {
    let SignedIn { session, user } = signed_in;
    // Whether the person is still an admin counts now.
    let asked: Vec<&str> = stored.bound.scope.split(' ').collect();
    let scope = scopes::for_user(&asked, client, user);
    let subject = Subject { sub: &user.id, org: &user.org, roles: &user.roles, session: Some(session) };
    let access = issue::access_token(call.app, &subject, client, (&scope, call.app.issuer.as_str())).await?;
    let mut tokens = Tokens::new(access.token, scope.clone());
    if scope.split(' ').any(|scope| scope == "openid") {
        let nonce = stored.bound.nonce.as_deref();
        tokens.id_token = Some(issue::id_token(call.app, signed_in, client, (nonce, &tokens)).await?);
    }
    let store = &call.app.store;
    let writes = vec![store.redeem_code(code, &access.grant.jti)?, store.record_grant(&access.grant)?];
    let event = Event::by_user(user, "token.issued").about_client(client).in_session(session);
    let event = event.detail("grant_type", "authorization_code").detail("scope", scope);
    let event = call.app.envelope(call.info, event.detail("jti", access.grant.jti));
    call.app.commit(writes, &[event]).await?;
    Ok(tokens)
}

/// Revokes what the first redemption gave, together with the event that says so.
async fn replayed(call: &Call<'_>, client: &Client, jti: &str) -> Result<Refusal, Failure> {
    let refusal = invalid("code_replayed", client);
    let event = call.app.envelope(call.info, refusal.event().detail("revoked_jti", jti));
    match call.app.commit(vec![call.app.store.revoke_grant(jti)?], &[event]).await {
        Ok(()) => Ok(refusal.recorded()),
        // The grant is gone because its token has expired: nothing to revoke, but still to be reported.
        Err(TableError::Condition) => Ok(refusal),
        Err(error) => Err(error.into()),
    }
}

/// One text for every way in which a code is not good; the audit log has the reason.
fn invalid(reason: &'static str, client: &Client) -> Refusal {
    Refusal::new(OAuthError::InvalidGrant, reason).because("the code is not valid for this request").by(client)
}
