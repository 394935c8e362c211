//! Filling the table from outside: the operator's tool makes people and clients.
//!
//! What is not there is created, what is there is left alone.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use echo_shared::clock::sortable;
use echo_shared::event::Envelope;
use echo_shared::event::audit::{self, Actor, Outcome, Record, Resource};
use echo_shared::queue::OutboxItem;
use echo_shared::secret::Secret;
use echo_shared::table::{Key, Table, TableError};
use echo_shared::telemetry::TraceContext;
use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::password::{self, PasswordError};
use crate::redirect;
use crate::store::{Client, Store, User, email_key, own_key, subject_key, user_key};

/// The longest e-mail address, in bytes (RFC 5321 section 4.5.3.1).
pub const MAX_EMAIL: usize = 254;
/// The longest password, in bytes.
pub const MAX_PASSWORD: usize = 1_024;
/// The longest id of a person or a client, in bytes.
pub const MAX_ID: usize = 128;

/// A person to be.
pub struct NewUser {
    /// The subject of their tokens; unique among people and clients.
    pub id: String,
    /// The address to sign in with; taken as verified.
    pub email: String,
    /// The name to show.
    pub name: String,
    /// The first password.
    pub password: Secret,
    /// The tenant.
    pub org: String,
    /// `admin`, `member`.
    pub roles: Vec<String>,
}

/// A client to be.
pub struct NewClient {
    /// The `client_id`; unique among people and clients.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// The tenant.
    pub org: String,
    /// 256 random bits in any encoding; none makes a public client.
    pub secret: Option<Secret>,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// Where people may be sent after signing out.
    pub post_logout_redirect_uris: Vec<String>,
    /// `authorization_code`, `client_credentials`.
    pub grants: Vec<String>,
    /// What its tokens may be good for.
    pub scopes: Vec<String>,
    /// Resources besides Echo itself that its own tokens may be for (RFC 8707).
    pub resources: Vec<String>,
}

/// A person or a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Something about it breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The id or the address belongs to somebody else.
    #[error("the id or the address is taken")]
    Taken,
    /// The first organisation was made before; by whom and when.
    #[error("this stack was bootstrapped at {at} by {by}; its admins make all that follows")]
    Bootstrapped {
        /// The AWS principal that did it.
        by: String,
        /// RFC 3339.
        at: String,
    },
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// Makes a person; false when they are there.
///
/// # Errors
/// When a field breaks a rule, the id or the address is taken, or the table fails.
pub async fn put_user(store: &Store, new: NewUser) -> Result<bool, AdminError> {
    check_user(&new)?;
    // Before the hash: seeding again should cost nothing.
    if is_there(store, &new).await? {
        return Ok(false);
    }
    let writes = user_writes(store, &new).await?;
    match store.table().transact(writes).await {
        Ok(()) => Ok(true),
        Err(TableError::Condition) if is_there(store, &new).await? => Ok(false),
        Err(TableError::Condition) => Err(AdminError::Taken),
        Err(error) => Err(error.into()),
    }
}

async fn user_writes(store: &Store, new: &NewUser) -> Result<Vec<TransactWriteItem>, AdminError> {
    let (id, email, name, org, roles) = (new.id.clone(), new.email.clone(), new.name.clone(), &new.org, &new.roles);
    let password_hash = password::hash(store.entropy(), new.password.clone()).await?;
    let user = User { id, email, email_verified: true, name, password_hash, org: org.clone(), roles: roles.clone() };
    let table = store.table();
    Ok(vec![
        table.put_new(&subject_key(&user.id), &user.email_index())?,
        table.put_new(&user_key(&user.id), &user)?,
        table.put_new(&email_key(&user.email), &user.email_index())?,
    ])
}

fn check_user(new: &NewUser) -> Result<(), AdminError> {
    check_id("id", &new.id)?;
    check_org(&new.org)?;
    if !(3..=MAX_EMAIL).contains(&new.email.len()) || !new.email.contains('@') || new.email.contains(char::is_control) {
        return Err(invalid("the e-mail address is none"));
    }
    if !(1..=MAX_PASSWORD).contains(&new.password.expose().len()) {
        return Err(invalid(&format!("a password has 1 to {MAX_PASSWORD} bytes")));
    }
    Ok(())
}

async fn is_there(store: &Store, new: &NewUser) -> Result<bool, TableError> {
    let found = store.user(&new.id).await?;
    Ok(found.is_some_and(|user| user.email.to_lowercase() == new.email.to_lowercase()))
}

/// Makes a client; false when it is there.
///
/// # Errors
/// When a field breaks a rule, the id is a person's, or the table fails.
pub async fn put_client(store: &Store, new: NewClient) -> Result<bool, AdminError> {
    check_client(&new)?;
    let id = new.id.clone();
    match store.table().transact(client_writes(store, new)?).await {
        Ok(()) => Ok(true),
        Err(TableError::Condition) if store.client(&id).await?.is_some() => Ok(false),
        Err(TableError::Condition) => Err(AdminError::Taken),
        Err(error) => Err(error.into()),
    }
}

fn client_writes(store: &Store, new: NewClient) -> Result<Vec<TransactWriteItem>, TableError> {
    let client = Client {
        id: new.id,
        name: new.name,
        org: new.org,
        redirect_uris: new.redirect_uris,
        post_logout_redirect_uris: new.post_logout_redirect_uris,
        grants: new.grants,
        scopes: new.scopes,
        resources: new.resources,
        secret_sha256: new.secret.map(|secret| sha256(secret.expose())),
    };
    let table = store.table();
    let subject = serde_json::json!({ "client_id": client.id });
    Ok(vec![table.put_new(&subject_key(&client.id), &subject)?, table.put_new(&Client::key(&client.id), &client)?])
}

/// Makes a deployed stack's first organisation: its admin, its client and the event that says so, in one transaction
/// with a mark that there is one. Whoever may write the tables may do it, once.
///
/// # Errors
/// [`AdminError::Bootstrapped`] when it was done before; as [`put_user`] and [`put_client`] otherwise.
pub async fn bootstrap(
    store: &Store,
    outbox: &Table,
    by: &str,
    admin: NewUser,
    client: NewClient,
) -> Result<(), AdminError> {
    check_user(&admin)?;
    check_client(&client)?;
    let at = sortable(store.clock().now());
    let event = bootstrapped(store, by, &admin, &client);
    let item = OutboxItem { id: event.id.clone(), created_at: at.clone(), event };
    let mark = own_key("BOOTSTRAP", "first");
    let mut writes = vec![store.table().put_new(&mark, &Mark { by: by.into(), at })?];
    writes.extend(user_writes(store, &admin).await?);
    writes.extend(client_writes(store, client)?);
    writes.push(outbox.put(&Key::single("id", &item.id), &item)?);
    match store.table().transact(writes).await {
        Ok(()) => Ok(()),
        Err(TableError::Condition) => match store.table().find::<Mark>(&mark).await? {
            Some(Mark { by, at }) => Err(AdminError::Bootstrapped { by, at }),
            None => Err(AdminError::Taken),
        },
        Err(error) => Err(error.into()),
    }
}

#[derive(Serialize, Deserialize)]
struct Mark {
    by: String,
    at: String,
}

fn bootstrapped(store: &Store, by: &str, admin: &NewUser, client: &NewClient) -> Envelope {
    let record = Record {
        actor: Actor { kind: "AwsPrincipal".into(), id: by.into(), name: None },
        action: "stack.bootstrapped".into(),
        resource: Some(Resource { kind: "Organisation".into(), id: admin.org.clone() }),
        outcome: Outcome::Success,
        reason: None,
        client: audit::Client::default(),
        session_id: None,
        request_id: String::new(),
        details: BTreeMap::from([
            ("admin".into(), admin.id.clone().into()),
            ("client_id".into(), client.id.clone().into()),
        ]),
    };
    let data = serde_json::to_value(record).unwrap_or_default();
    let trace = TraceContext::continue_from(None, None, store.entropy());
    Envelope::new(store.clock(), store.entropy(), &trace, ("/echoctl", &admin.org, audit::TYPE), data)
}

fn check_client(new: &NewClient) -> Result<(), AdminError> {
    check_id("id", &new.id)?;
    check_org(&new.org)?;
    for uri in new.redirect_uris.iter().chain(&new.post_logout_redirect_uris) {
        redirect::check_registration(uri).map_err(|reason| invalid(&format!("{reason}: {uri}")))?;
    }
    let known = ["authorization_code", "client_credentials"];
    if let Some(grant) = new.grants.iter().find(|grant| !known.contains(&grant.as_str())) {
        return Err(invalid(&format!("there is no grant `{grant}`")));
    }
    let own_tokens = new.grants.iter().any(|grant| grant == "client_credentials");
    match &new.secret {
        None if own_tokens => Err(invalid("a client without a secret cannot have client_credentials")),
        Some(secret) if secret.expose().len() < 32 => Err(invalid("a client's secret has at least 32 characters")),
        _ => Ok(()),
    }
}

/// Names that begin with `_` are Echo's own.
fn check_org(org: &str) -> Result<(), AdminError> {
    if org.starts_with('_') { Err(invalid("`org` must not begin with `_`")) } else { check_id("org", org) }
}

fn check_id(name: &str, id: &str) -> Result<(), AdminError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(());
    }
    Err(invalid(&format!("`{name}` has 1 to {MAX_ID} letters, digits, `-`, `_` or `.`")))
}

fn invalid(reason: &str) -> AdminError {
    AdminError::Invalid(reason.into())
}
