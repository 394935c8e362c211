//! Made-up audit events: the same in every run, a kilobyte each, and as varied as real ones, so that they compress no
//! better.

use std::sync::atomic::{AtomicU64, Ordering};

use echo_shared::entropy::Entropy;
use echo_shared::event::{Envelope, audit};
use echo_shared::telemetry::hex;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

/// People who do things; some do many.
const PEOPLE: u64 = 3_000;
/// Things of each kind that are done something to.
const THINGS: u64 = 20_000;

/// What is done: the action, the resource's type, method and path of the request.
const ACTIONS: [(&str, &str, &str, &str); 16] = [
    ("document.read", "Document", "GET", "/v1/documents"),
    ("document.created", "Document", "POST", "/v1/documents"),
    ("document.updated", "Document", "PATCH", "/v1/documents"),
    ("document.shared", "Document", "POST", "/v1/documents"),
    ("document.deleted", "Document", "DELETE", "/v1/documents"),
    ("comment.created", "Comment", "POST", "/v1/comments"),
    ("invoice.read", "Invoice", "GET", "/v1/invoices"),
    ("invoice.approved", "Invoice", "POST", "/v1/invoices"),
    ("invoice.paid", "Invoice", "POST", "/v1/invoices"),
    ("report.exported", "Report", "POST", "/v1/reports"),
    ("member.invited", "Team", "POST", "/v1/teams"),
    ("member.removed", "Team", "DELETE", "/v1/teams"),
    ("role.assigned", "Team", "PUT", "/v1/teams"),
    ("key.rotated", "ApiKey", "POST", "/v1/keys"),
    ("decision.allow", "Document", "POST", "/authorize"),
    ("decision.deny", "Document", "POST", "/authorize"),
];
const SOURCES: [&str; 5] =
    ["/clients/documents", "/clients/billing", "/clients/teams", "/clients/reports", "/authorize"];
const FIRST_NAMES: [&str; 12] =
    ["Ada", "Björn", "Chidi", "Dolores", "Emre", "Fatima", "Grace", "Hiroshi", "Ingrid", "João", "Kavya", "Léa"];
const LAST_NAMES: [&str; 10] =
    ["Almeida", "Brandt", "Castillo", "Dubois", "Eriksen", "Fischer", "Ghosh", "Haddad", "Ivanova", "Kovács"];
const SYSTEMS: [&str; 5] = [
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 14; Pixel 8",
    "iPhone; CPU iPhone OS 17_5 like Mac OS X",
];
const REGIONS: [&str; 4] = ["eu-central-1", "eu-west-1", "us-east-1", "ap-southeast-2"];
const FIELDS: [&str; 10] =
    ["title", "owner", "status", "due_date", "amount", "labels", "visibility", "retention", "reviewer", "folder"];
const POLICIES: [&str; 6] = ["owner-may", "team-reads", "admin-may", "office-hours", "same-region", "four-eyes"];

/// SplitMix64 (Steele, Lea and Flood, 2014): random enough for a benchmark, and the same every time.
pub fn seeded(seed: u64) -> Entropy {
    let state = AtomicU64::new(seed);
    Entropy::from_fn(move |bytes| {
        for part in bytes.chunks_mut(8) {
            let drawn = mix(state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP)).to_le_bytes();
            part.iter_mut().zip(drawn).for_each(|(byte, drawn)| *byte = drawn);
        }
    })
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Makes one org's events, one after the other.
pub struct Maker {
    org: String,
    draw: Entropy,
    at: OffsetDateTime,
    pause: Duration,
}

impl Maker {
    /// Events of `org` from `begin` on, one every `pause`.
    pub fn new(org: &str, seed: u64, begin: OffsetDateTime, pause: Duration) -> Self {
        Self { org: org.into(), draw: seeded(seed), at: begin, pause }
    }

    /// The next event.
    pub fn event(&mut self) -> Envelope {
        let (at, draw) = (self.at, &self.draw);
        self.at += self.pause;
        let (action, kind, method, path) =
            ACTIONS.get(index(popular(draw, ACTIONS.len() as u64))).copied().unwrap_or_default();
        let thing = format!("{kind}/{}", popular(draw, THINGS));
        Envelope {
            specversion: "1.0".into(),
            id: draw.uuid_v7(at).to_string(),
            source: pick(draw, &SOURCES).into(),
            event_type: audit::TYPE.into(),
            time: at,
            subject: None,
            org: self.org.clone(),
            traceparent: Some(format!("00-{}-{}-01", hex(&draw.bytes::<16>()), hex(&draw.bytes::<8>()))),
            datacontenttype: "application/json".into(),
            data: self.data((action, kind), (method, path), &thing),
        }
    }

    fn data(&self, (action, kind): (&str, &str), (method, path): (&str, &str), thing: &str) -> Value {
        let draw = &self.draw;
        // The same thing has the same id every time.
        let id = hex(&seeded(thing.bytes().fold(7, |seed, byte| mix(seed ^ u64::from(byte)))).bytes::<16>());
        let person = Person::number(popular(draw, PEOPLE));
        let (outcome, reason, status) = match below(draw, 100) {
            0..92 => ("success", None, 200),
            92..97 => ("denied", Some("policy_denied"), 403),
            _ => ("failure", Some("version_conflict"), 409),
        };
        let mut data = json!({
            "actor": {"type": "User", "id": person.id, "name": person.name},
            "action": action, "outcome": outcome, "resource": {"type": kind, "id": id},
            "client": {"ip": person.ip, "user_agent": person.user_agent, "client_id": "console-web"},
            "session_id": person.session(below(draw, 4)), "request_id": hex(&draw.bytes::<16>()),
            "details": details(draw, (method, &format!("{path}/{id}"), status)),
        });
        if let (Some(data), Some(reason)) = (data.as_object_mut(), reason) {
            data.insert("reason".into(), reason.into());
        }
        data
    }
}

fn details(draw: &Entropy, (method, path, status): (&str, &str, u16)) -> Value {
    let some = |of: &[&'static str], most| (0..=below(draw, most)).map(|_| pick(draw, of)).collect::<Vec<_>>();
    json!({
        "method": method, "path": path, "status": status, "region": pick(draw, &REGIONS),
        "duration_ms": below(draw, 2_000), "bytes": below(draw, 400_000), "etag": hex(&draw.bytes::<8>()),
        "changed": some(&FIELDS, 4), "policies": some(&POLICIES, 3), "policy_version": 1 + below(draw, 40),
    })
}

/// Who does things: the same number is the same person.
struct Person {
    number: u64,
    id: String,
    name: String,
    ip: String,
    user_agent: String,
}

impl Person {
    fn number(number: u64) -> Self {
        let draw = seeded(mix(number));
        let [a, b, c] = draw.bytes::<3>();
        let agent = format!(
            "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.{}.{} Safari/537.36",
            pick(&draw, &SYSTEMS),
            112 + below(&draw, 20),
            5_600 + below(&draw, 900),
            below(&draw, 200)
        );
        Self {
            number,
            id: hex(&draw.bytes::<12>()),
            name: format!("{} {}", pick(&draw, &FIRST_NAMES), pick(&draw, &LAST_NAMES)),
            ip: format!("10.{a}.{b}.{c}"),
            user_agent: agent,
        }
    }

    /// One of the sessions of this person.
    fn session(&self, which: u64) -> String {
        hex(&seeded(mix(self.number).wrapping_add(1 + which)).bytes::<16>())
    }
}

/// A number below `limit`, each as likely as the others.
pub fn below(draw: &Entropy, limit: u64) -> u64 {
    u64::from_le_bytes(draw.bytes()) % limit.max(1)
}

/// A number below `limit`, the lower the likelier.
fn popular(draw: &Entropy, limit: u64) -> u64 {
    below(draw, limit) * below(draw, limit) / limit.max(1)
}

fn pick(draw: &Entropy, choices: &[&'static str]) -> &'static str {
    choices.get(index(below(draw, choices.len() as u64))).copied().unwrap_or_default()
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use echo_shared::audit::Entry;
    use echo_shared::audit::chunk::Chunk;
    use echo_shared::audit::leaf::Leaf;
    use echo_shared::event::Envelope;
    use time::macros::datetime;
    use time::{Duration, OffsetDateTime};

    use super::{Maker, seeded};

    const BEGIN: OffsetDateTime = datetime!(2026-01-31 12:00:00 UTC);

    fn events() -> Vec<Envelope> {
        let mut maker = Maker::new("o", 1, BEGIN, Duration::milliseconds(7));
        (0..980).map(|_| maker.event()).collect()
    }

    #[test]
    fn events_are_good_different_and_about_a_kilobyte() {
        let events = events();
        let ids: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids.len(), events.len());
        let bytes: usize = events.iter().map(|event| Envelope::parse(&event.to_body()).unwrap().to_body().len()).sum();
        let each = bytes / events.len();
        assert!((950..1_100).contains(&each), "{each}");
        assert_eq!(events, self::events(), "the same in every run");
    }

    /// What the figures rest on: made-up entries must not compress much better than real ones would.
    #[test]
    fn entries_compress_to_a_quarter_at_best() {
        let salts = seeded(2);
        let leaf = |event: &Envelope| Leaf::new(&Entry::new(event, event.time).unwrap(), salts.bytes()).unwrap();
        let leaves: Vec<Leaf> = events().iter().map(leaf).collect();
        let size = |leaf: &Leaf| leaf.bytes.len() + leaf.personal.as_ref().unwrap().json.len();
        let before: usize = leaves.iter().map(size).sum();
        let after: usize = leaves.chunks(98).map(|leaves| Chunk::new(leaves).unwrap().data.len()).sum();
        let ratio = after as f64 / before as f64;
        assert!((0.25..0.5).contains(&ratio), "{ratio}");
    }
}
