//! What login reports: `audit` events from the source `/login`.

use std::collections::BTreeMap;

use echo_shared::event::audit::{Actor, Outcome, Record, Resource, TYPE};
use echo_shared::event::{Envelope, SYSTEM_ORG};
use echo_shared::http::RequestInfo;
use echo_shared::telemetry::note_org;
use serde_json::Value;

use crate::app::App;
use crate::store::{Client, Session, User};

/// Something that happened. No secret, token, code, cookie or address goes in here.
pub struct Event<'a> {
    /// The tenant.
    pub org: &'a str,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: &'static str,
    /// To what.
    pub resource: Option<Resource>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so.
    pub reason: Option<&'static str>,
    /// The OAuth client it went through.
    pub client_id: Option<&'a str>,
    /// The session it belongs to.
    pub session_id: Option<&'a str>,
    /// What else an auditor should know.
    pub details: BTreeMap<String, Value>,
}

impl<'a> Event<'a> {
    /// A person did something.
    pub fn by_user(user: &'a User, action: &'static str) -> Self {
        Self::new(&user.org, Actor::user(&user.id, Some(&user.name)), action)
    }

    /// A client did something.
    pub fn by_client(client: &'a Client, action: &'static str) -> Self {
        Self::new(&client.org, Actor::client(&client.id), action).about_client(client)
    }

    /// Somebody unknown did something.
    pub fn by_nobody(action: &'static str) -> Self {
        Self::new(SYSTEM_ORG, Actor::anonymous(), action)
    }

    fn new(org: &'a str, actor: Actor, action: &'static str) -> Self {
        let details = BTreeMap::new();
        let outcome = Outcome::Success;
        Self { org, actor, action, resource: None, outcome, reason: None, client_id: None, session_id: None, details }
    }

    /// It concerns a client.
    pub fn about_client(mut self, client: &'a Client) -> Self {
        self.resource = Some(Resource { kind: "Client".into(), id: client.id.clone() });
        self.client_id = Some(&client.id);
        self
    }

    /// It belongs to a session, and concerns it unless it concerns something else.
    pub fn in_session(mut self, session: &'a Session) -> Self {
        self.session_id = Some(&session.id);
        self.resource.get_or_insert_with(|| Resource { kind: "Session".into(), id: session.id.clone() });
        self
    }

    /// It ended otherwise than wished.
    pub fn ended(mut self, outcome: Outcome, reason: &'static str) -> Self {
        (self.outcome, self.reason) = (outcome, Some(reason));
        self
    }

    /// One more detail.
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }
}

impl App {
    /// The envelope of an event that happens now, in the request `info`.
    pub(crate) fn envelope(&self, info: &RequestInfo, event: Event<'_>) -> Envelope {
        note_org(event.org);
        let record = Record {
            actor: event.actor,
            action: event.action.into(),
            resource: event.resource,
            outcome: event.outcome,
            reason: event.reason.map(Into::into),
            client: info.client(event.client_id),
            session_id: event.session_id.map(Into::into),
            request_id: info.request_id.clone(),
            details: event.details,
        };
        // A record consists of texts only: it is always JSON.
        let data = serde_json::to_value(record).unwrap_or_default();
        Envelope::new(&self.clock, &self.entropy, &info.trace, ("/login", event.org, TYPE), data)
    }
}

/// One log line about an event that is on record. Ids only: names and addresses stay in the audit log.
pub(crate) fn log(event: &Envelope) {
    let text = |pointer: &str| event.data.pointer(pointer).and_then(Value::as_str);
    tracing::info!(
        action = text("/action"),
        outcome = text("/outcome"),
        reason = text("/reason"),
        actor_type = text("/actor/type"),
        actor_id = text("/actor/id"),
        client_id = text("/client/client_id"),
        session_id = text("/session_id"),
        event_id = event.id,
        "recorded"
    );
}
