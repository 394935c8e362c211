//! The client credentials grant (RFC 6749 section 4.4).

use super::Call;
use super::issue::{self, Subject, Tokens};
use super::refusal::{Failure, OAuthError, Refusal};
use crate::audit::Event;
use crate::scopes;
use crate::store::Client;

/// Gives a client a token of its own.
pub async fn issue(call: &Call<'_>, client: &Client) -> Result<Tokens, Failure> {
    if client.secret_sha256.is_none() || !client.may("client_credentials") {
        let refusal = Refusal::new(OAuthError::UnauthorizedClient, "grant_not_allowed");
        return Err(refusal.because("the client may not use this grant").by(client).into());
    }
    let scope = scope(call, client)?;
    let audience = audience(call, client)?;
    let subject = Subject { sub: &client.id, org: &client.org, roles: &[], session: None };
    let access = issue::access_token(call.app, &subject, client, (&scope, audience)).await?;
    let event = Event::by_client(client, "token.issued").detail("grant_type", "client_credentials");
    let event = event.detail("scope", scope.as_str()).detail("jti", access.grant.jti.as_str());
    let event = call.app.envelope(call.info, event);
    call.app.commit(vec![call.app.store.record_grant(&access.grant)?], &[event]).await?;
    Ok(Tokens::new(access.token, scope))
}

fn scope(call: &Call<'_>, client: &Client) -> Result<String, Refusal> {
    let requested = scopes::split(call.params.get("scope").unwrap_or_default()).ok();
    let granted = requested.and_then(|requested| scopes::for_client(&requested, client));
    granted.ok_or_else(|| {
        let refusal = Refusal::new(OAuthError::InvalidScope, "scope_not_granted").by(client);
        refusal.because("the client was not granted these scopes")
    })
}

/// Echo itself, or a resource that the client was registered for (RFC 8707).
fn audience<'a>(call: &'a Call<'_>, client: &Client) -> Result<&'a str, Refusal> {
    let own = call.app.issuer.as_str();
    let asked = call.params.get("resource").unwrap_or(own);
    if asked == own || client.resources.iter().any(|known| known == asked) {
        return Ok(asked);
    }
    let refusal = Refusal::new(OAuthError::InvalidTarget, "unknown_resource").by(client);
    Err(refusal.because("the client may not have tokens for this resource"))
}
