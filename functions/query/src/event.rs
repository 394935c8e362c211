//! `GET /audit/v1/events/{id}` and `GET /audit/v1/events?id=…`: an event's entries with the proof that they are in the
//! log. At most 20 of them: an id is unique for each source alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::Entry;
use echo_shared::audit::chunk::{Head, key};
use echo_shared::audit::leaf::Leaf;
use echo_shared::audit::merkle::{inclusion, leaf_hash};
use echo_shared::event::MAX_NAME;
use echo_shared::http::{Problem, RequestInfo};
use echo_shared::table::TableError;
use echo_shared::token::{AccessClaims, KeySource};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::chunks::{Unpacked, unpack};
use crate::error::ReadError;
use crate::front::Front;
use crate::search::{Hit, Marker};

/// The most entries of one id that are answered: those of the first sources in their order.
const MOST: usize = 20;

/// An event's entries, and what they are proven against.
#[derive(Serialize)]
pub(crate) struct Proofs {
    items: Vec<Proven>,
    /// Whether more sources than are shown used the id.
    more: bool,
    checkpoint: String,
}

/// An entry with all that proves it. Leaf and personal details are the very bytes that were hashed.
#[derive(Serialize)]
struct Proven {
    index: u64,
    leaf_hash: String,
    version: u8,
    leaf: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    personal: Option<Box<RawValue>>,
    /// The same for people to read.
    entry: Entry,
    proof: Vec<String>,
    size: u64,
}

pub(crate) async fn get_event<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    info: RequestInfo,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Proofs>, Problem> {
    let caller = front.caller(&headers).await?;
    front.look_up(&info, &caller, id).await.map(Json)
}

impl<K: KeySource> Front<K> {
    /// The entries of the event `id`, proven; at most [`MOST`].
    pub(crate) async fn look_up(
        &self,
        info: &RequestInfo,
        caller: &AccessClaims,
        id: String,
    ) -> Result<Proofs, Problem> {
        let unknown =
            || Problem::new(StatusCode::NOT_FOUND, "no-such-event", "the log has no entry of an event of this id");
        if id.len() > MAX_NAME {
            return Err(unknown());
        }
        self.report(info, caller, "/audit/v1/events/{id}", BTreeMap::from([("id", id.clone())])).await?;
        let mut hits = self.hits(&caller.org, &id).await.map_err(|error| Problem::unavailable(&error))?;
        if hits.is_empty() {
            return Err(unknown());
        }
        let more = hits.len() > MOST;
        hits.truncate(MOST);
        // Read behind the markers, so that it covers them.
        let head = self.head(&caller.org).await?;
        let items = self.proven(caller, &head, &hits).await?;
        Ok(Proofs { items, more, checkpoint: head.checkpoint })
    }

    /// Where the entries of an event are: one for every source that used its id, as far as one page of them goes.
    async fn hits(&self, org: &str, id: &str) -> Result<Vec<Hit>, TableError> {
        let markers: Vec<Marker> = self.app.log.partition(&key::event(org, id)).await?;
        markers.into_iter().map(Hit::of).collect()
    }

    async fn proven(&self, caller: &AccessClaims, head: &Head, hits: &[Hit]) -> Result<Vec<Proven>, ReadError> {
        let paths: Vec<_> = hits.iter().map(|hit| inclusion(hit.index, head.size)).collect();
        let ranges = paths.concat();
        let places: BTreeSet<&str> = hits.iter().map(|hit| hit.chunk.as_str()).collect();
        let tiles = self.tiles(&caller.org, head);
        let (chunks, roots) = tokio::try_join!(unpack(&self.app.log, &caller.org, &places), tiles.roots(&ranges))?;
        let mut roots = roots.into_iter().map(|root| STANDARD.encode(root));
        let prove = |(hit, path): (&Hit, &Vec<_>)| {
            let proof = roots.by_ref().take(path.len()).collect();
            Proven::of(hit.index, leaf_of(hit, &chunks)?, proof, head.size)
        };
        hits.iter().zip(&paths).map(prove).collect()
    }
}

fn leaf_of<'a>(hit: &Hit, chunks: &'a BTreeMap<String, Unpacked>) -> Result<&'a Leaf, ReadError> {
    let leaf = chunks.get(&hit.chunk).and_then(|chunk| chunk.leaf(hit.index));
    leaf.ok_or_else(|| ReadError::missing(hit.index))
}

impl Proven {
    fn of(index: u64, leaf: &Leaf, proof: Vec<String>, size: u64) -> Result<Self, ReadError> {
        let entry = leaf.entry().map_err(|error| ReadError::damaged(index, error))?;
        let text = leaf.json().map_err(|error| ReadError::damaged(index, error))?;
        let raw = |text: &str| RawValue::from_string(text.to_owned()).map_err(|error| ReadError::damaged(index, error));
        Ok(Self {
            index,
            leaf_hash: STANDARD.encode(leaf_hash(&leaf.bytes)),
            version: leaf.bytes.first().copied().unwrap_or_default(),
            leaf: raw(text)?,
            salt: leaf.personal.as_ref().map(|personal| STANDARD.encode(personal.salt)),
            personal: leaf.personal.as_ref().map(|personal| raw(&personal.json)).transpose()?,
            entry,
            proof,
            size,
        })
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::audit::Entry;
    use echo_shared::audit::leaf::Leaf;
    use serde_json::json;

    use super::Proven;

    #[test]
    fn what_was_hashed_is_not_written_anew() {
        let entry: Entry = serde_json::from_value(json!({
            "id": "1", "time": "t", "received_at": "r", "org": "demo", "source": "/s",
            "actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "denied", "request_id": "q",
            "details": {"n": 1e21},
        }))
        .unwrap();
        let mut leaf = Leaf::new(&entry, [0; 16]).unwrap();
        let shown = |leaf: &Leaf| serde_json::to_string(&Proven::of(7, leaf, Vec::new(), 8).unwrap()).unwrap();
        let salted = r#","salt":"AAAAAAAAAAAAAAAAAAAAAA==","personal":{"details":{"n":1e+21}},"entry":{"#;
        let public = format!(r#""version":1,"leaf":{}"#, leaf.json().unwrap());
        assert!(shown(&leaf).contains(&format!("{public}{salted}")), "{}", shown(&leaf));
        leaf.personal = None;
        assert!(shown(&leaf).contains(&format!(r#"{public},"entry":{{"#)), "{}", shown(&leaf));
        leaf.bytes[0] = 2;
        assert!(Proven::of(7, &leaf, Vec::new(), 8).is_err());
    }
}
