//! `GET /account`: who is signed in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::{PageError, page, see_other};
use crate::app::App;
use crate::csrf::Csrf;
use crate::return_to::ReturnTo;
use crate::session;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    name: &'a str,
    email: &'a str,
    org: &'a str,
    csrf: &'a str,
}

/// Shows the account, or the login page first.
pub async fn get(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, PageError> {
    let Some(signed_in) = session::current(&app, &headers).await? else {
        return Ok(see_other(&ReturnTo::parse(None).login_page()));
    };
    let (user, csrf) = (&signed_in.user, Csrf::issue(&app, &headers));
    let shown = AccountPage { name: &user.name, email: &user.email, org: &user.org, csrf: &csrf.token };
    Ok(csrf.attach(page(StatusCode::OK, &shown, None)))
}
