//! One Login: the pages people sign in on, and the OpenID Provider that clients speak to.
//!
//! Way in: [`router`] names every route. `pages` are for people, `oauth` is the protocol, `store` is the `login`
//! table, one file per entity; [`admin`] fills the table from outside.
//!
//! Invariants: a code is redeemed once, and a second try revokes what the first one gave; a change of state and its
//! event are one transaction; a refusal is answered only after its event is in the queue; no secret is stored in
//! clear, logged, or put into an event.

pub mod admin;
mod app;
mod audit;
mod config;
mod csrf;
mod digest;
mod discovery;
mod error;
mod keys;
mod oauth;
mod pages;
mod params;
mod password;
mod redirect;
mod return_to;
mod scopes;
mod session;
mod store;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use echo_shared::http::Door;

pub use app::App;
pub use config::Config;
pub use echo_shared::seal::MasterKey;
pub use store::Store;

/// The largest form, in bytes.
const MAX_FORM: usize = 16 * 1024;
/// How long an access token and an ID token live, in seconds.
const TOKEN_SECONDS: i64 = 300;
/// How long a session lives, in seconds, whatever happens in it.
const SESSION_SECONDS: i64 = 12 * 3_600;

/// The function's routes.
pub fn router(app: Arc<App>) -> Router {
    let door = Door { entropy: app.entropy.clone(), https: app.issuer.is_https() };
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(discovery::metadata))
        .route("/.well-known/oauth-authorization-server", get(discovery::metadata))
        .route("/oauth2/jwks", get(discovery::jwks))
        .route("/oauth2/authorize", get(oauth::authorize::get).post(oauth::authorize::post))
        .route("/oauth2/token", post(oauth::token::post))
        .route("/oauth2/userinfo", get(oauth::userinfo::answer).post(oauth::userinfo::answer))
        .route("/oauth2/logout", get(pages::logout::get).post(pages::logout::post))
        .route("/login", get(pages::login::get).post(pages::login::post))
        .route("/account", get(pages::account::get));
    door.guard(routes.with_state(app))
}
