//! `/login`: e-mail and password.
//!
//! Invariant: an unknown address and a wrong password cannot be told apart, neither by the answer nor by the work it
//! takes; and neither is answered before the queue has its event.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use echo_shared::event::audit::Outcome;
use echo_shared::http::RequestInfo;
use echo_shared::metric::Metric;
use echo_shared::secret::Secret;
use echo_shared::table::TableError;
use http::{HeaderMap, StatusCode};

use super::{PageError, form, page, see_other, with_cookie};
use crate::admin::{MAX_EMAIL, MAX_PASSWORD};
use crate::app::App;
use crate::audit::{self, Event};
use crate::csrf::{self, Csrf};
use crate::oauth::authorize;
use crate::params::Params;
use crate::password::{self, Verdict};
use crate::redirect::form_source;
use crate::return_to::ReturnTo;
use crate::session;
use crate::store::User;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    client_name: Option<&'a str>,
    alert: Option<&'a str>,
    csrf: &'a str,
    return_to: &'a str,
    email: &'a str,
}

/// What the form is shown with.
struct Shown<'a> {
    return_to: &'a ReturnTo,
    status: StatusCode,
    alert: Option<&'a str>,
    email: &'a str,
}

/// Shows the form.
pub async fn get(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let query = Params::parse(query.unwrap_or_default().as_bytes());
    let return_to = ReturnTo::parse(query.get("return_to"));
    show(&app, &headers, Shown { return_to: &return_to, status: StatusCode::OK, alert: None, email: "" }).await
}

/// Signs in.
pub async fn post(
    State(app): State<Arc<App>>,
    info: RequestInfo,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PageError> {
    let form = form(&headers, body).await?;
    let return_to = ReturnTo::parse(form.get("return_to"));
    let email = form.get("email").unwrap_or_default();
    let again = |status, alert| Shown { return_to: &return_to, status, alert: Some(alert), email };
    if !csrf::is_ours(&app.issuer, &headers, form.get("csrf")) {
        let alert = "This form was out of date. Please try again.";
        return show(&app, &headers, again(StatusCode::FORBIDDEN, alert)).await;
    }
    let password = form.get("password").unwrap_or_default();
    if !(1..=MAX_EMAIL).contains(&email.len()) || !(1..=MAX_PASSWORD).contains(&password.len()) {
        let shown = Shown { email: "", ..again(StatusCode::BAD_REQUEST, "Enter your e-mail and your password.") };
        return show(&app, &headers, shown).await;
    }
    match verify(&app, &info, email, Secret::new(password)).await? {
        Some(user) => sign_in(&app, &info, &headers, &user, &return_to).await,
        None => show(&app, &headers, again(StatusCode::UNAUTHORIZED, "E-mail or password is wrong.")).await,
    }
}

/// The person, when the password is theirs.
async fn verify(app: &App, info: &RequestInfo, email: &str, password: Secret) -> Result<Option<User>, PageError> {
    let user = app.store.user_by_email(email).await?;
    let verdict = password::check(user.as_ref().map(|user| user.password_hash.clone()), password.clone()).await?;
    let event = match (user, verdict) {
        (Some(user), Verdict::Right) => return Ok(Some(user)),
        (Some(user), Verdict::RightButOutdated) => {
            rehash(app, &user, password).await;
            return Ok(Some(user));
        }
        (Some(user), Verdict::Wrong) => {
            let event = Event::by_user(&user, "login.failed").ended(Outcome::Failure, "wrong_password");
            app.envelope(info, event)
        }
        (None, _) => app.envelope(info, Event::by_nobody("login.failed").ended(Outcome::Failure, "unknown_user")),
    };
    app.publisher.publish(std::slice::from_ref(&event)).await?;
    audit::log(&event);
    app.metrics.count(Metric::Refusals);
    Ok(None)
}

/// Brings the hash up to date. The sign-in does not depend on it: the next one tries again.
async fn rehash(app: &App, user: &User, password: Secret) {
    let done = match password::hash(&app.entropy, password).await {
        Ok(new) => app.store.replace_password_hash(user, new).await.map_err(Into::into),
        Err(error) => Err(crate::error::Unavailable::from(error)),
    };
    if let Err(error) = done {
        tracing::warn!(%error, "a password's hash stays outdated");
    }
}

/// Starts a session, ends the one this browser had, and goes on.
async fn sign_in(
    app: &App,
    info: &RequestInfo,
    headers: &HeaderMap,
    user: &User,
    return_to: &ReturnTo,
) -> Result<Response, PageError> {
    let (session, secret) = app.store.new_session(user);
    let start = app.store.start_session(&session)?;
    let event = || Event::by_user(user, "login.succeeded").in_session(&session);
    let replaced = match session::current(app, headers).await? {
        Some(old) => {
            let event = app.envelope(info, event().detail("replaced_session", old.session.id.clone()));
            let writes = vec![start.clone(), app.store.end_session(&old.session.id)?];
            match app.commit(writes, &[event]).await {
                Ok(()) => true,
                // The old session has just ended by itself.
                Err(TableError::Condition) => false,
                Err(error) => return Err(error.into()),
            }
        }
        None => false,
    };
    if !replaced {
        app.commit(vec![start], &[app.envelope(info, event())]).await?;
    }
    app.metrics.count(Metric::Logins);
    Ok(with_cookie(see_other(return_to.as_str()), &session::cookie(app, &session, &secret)))
}

async fn show(app: &App, headers: &HeaderMap, shown: Shown<'_>) -> Result<Response, PageError> {
    let target = match shown.return_to.request() {
        Some(request) => authorize::target(app, &request).await,
        None => Err(PageError::UnknownClient),
    };
    let target = match target {
        Err(PageError::Unavailable(error)) => return Err(PageError::Unavailable(error)),
        other => other.ok(),
    };
    let csrf = Csrf::issue(app, headers);
    let template = LoginPage {
        client_name: target.as_ref().map(|target| target.client.name.as_str()),
        alert: shown.alert,
        csrf: &csrf.token,
        return_to: shown.return_to.as_str(),
        email: shown.email,
    };
    let form_target = target.as_ref().and_then(|target| form_source(&target.redirect_uri));
    Ok(csrf.attach(page(shown.status, &template, form_target.as_deref())))
}
