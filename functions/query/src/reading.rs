//! Reading is audited: who looks at entries becomes an entry, once per reader, query and ten minutes.
//!
//! Invariant: no entry leaves before the queue accepted the event that says so. Repeated readings have one id, so the
//! log keeps one of them, whichever process reports it; what was accepted is not sent again by the same process.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use echo_shared::audit::merkle::hash;
use echo_shared::event::Envelope;
use echo_shared::event::audit::{self, Actor, Outcome, Record, Resource};
use echo_shared::http::{Problem, RequestInfo};
use echo_shared::telemetry::hex;
use echo_shared::token::{AccessClaims, KeySource};
use serde_json::json;

use crate::front::Front;

/// Seconds in which the same reading counts once.
const WINDOW: i64 = 600;
/// Accepted readings that a process remembers.
const REMEMBERED: usize = 1_000;

/// A reading's parameters in one form.
pub(crate) type Given = BTreeMap<&'static str, String>;

/// Readings of the present window that the queue accepted, by org and id.
#[derive(Default)]
pub(crate) struct Readings(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    window: i64,
    accepted: HashSet<(String, String)>,
}

impl Readings {
    fn of(&self, window: i64) -> MutexGuard<'_, Remembered> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.window != window || remembered.accepted.len() >= REMEMBERED {
            *remembered = Remembered { window, accepted: HashSet::new() };
        }
        remembered
    }
}

impl<K: KeySource> Front<K> {
    /// Reports a reading; returns once the queue has it.
    pub(crate) async fn report(
        &self,
        info: &RequestInfo,
        caller: &AccessClaims,
        route: &str,
        mut query: Given,
    ) -> Result<(), Problem> {
        query.insert("route", route.into());
        let reader = if caller.is_client() { Actor::client(&caller.sub) } else { Actor::user(&caller.sub, None) };
        let window = self.app.clock.unix().div_euclid(WINDOW);
        let id = id(&reader, &query, window);
        let known = (caller.org.clone(), id.clone());
        if self.readings.of(window).accepted.contains(&known) {
            return Ok(());
        }
        let event = Envelope { id, ..self.event(info, caller, reader, &query) };
        let accepted = self.app.publisher.publish(std::slice::from_ref(&event)).await;
        accepted.map_err(|error| Problem::unavailable(&error))?;
        self.readings.of(window).accepted.insert(known);
        Ok(())
    }

    fn event(&self, info: &RequestInfo, caller: &AccessClaims, reader: Actor, query: &Given) -> Envelope {
        let record = Record {
            actor: reader,
            action: "audit.read".into(),
            resource: Some(Resource { kind: "AuditLog".into(), id: caller.org.clone() }),
            outcome: Outcome::Success,
            reason: None,
            client: info.client(Some(&caller.client_id)),
            session_id: caller.sid.clone(),
            request_id: info.request_id.clone(),
            details: BTreeMap::from([("query".into(), json!(query))]),
        };
        let data = serde_json::to_value(record).unwrap_or_default();
        let (clock, entropy) = (&self.app.clock, &self.app.entropy);
        Envelope::new(clock, entropy, &info.trace, ("/query", &caller.org, audit::TYPE), data)
    }
}

/// The same for the same reader, query and window.
fn id(reader: &Actor, query: &Given, window: i64) -> String {
    let parts = json!([[reader.kind, reader.id], query, window]).to_string();
    let digest: String = hex(&hash(&[parts.as_bytes()])).chars().take(32).collect();
    format!("read-{digest}")
}

#[cfg(test)]
mod tests {
    use echo_shared::event::audit::Actor;

    use super::{Given, REMEMBERED, Readings, id};

    #[test]
    fn an_id_is_of_one_reader_query_and_window() {
        let query = |actor: &str| Given::from([("route", "/r".into()), ("actor", actor.into())]);
        let (alice, client) = (Actor::user("alice", None), Actor::client("alice"));
        let one = id(&alice, &query("a"), 7);
        assert!(one.starts_with("read-") && one.len() == 37, "{one}");
        assert_eq!(one, id(&alice, &query("a"), 7));
        for other in [id(&client, &query("a"), 7), id(&alice, &query("b"), 7), id(&alice, &query("a"), 8)] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_of_one_window() {
        let readings = Readings::default();
        let known = |id: &str| ("demo".to_owned(), id.to_owned());
        readings.of(1).accepted.insert(known("a"));
        assert!(readings.of(1).accepted.contains(&known("a")));
        assert!(!readings.of(2).accepted.contains(&known("a")));
        for n in 0..3 * REMEMBERED {
            readings.of(2).accepted.insert(known(&n.to_string()));
            assert!(readings.of(2).accepted.len() <= REMEMBERED);
        }
    }
}
