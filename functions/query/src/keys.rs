//! `GET /audit/v1/keys`: the keys that sign checkpoints, the oldest first. Old ones stay: old checkpoints need them.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Json;
use axum::extract::State;
use echo_shared::audit::chunk::{StoredKey, key};
use echo_shared::audit::note::{VerifierKey, origin};
use echo_shared::config::Issuer;
use echo_shared::http::Problem;
use echo_shared::table::{Item, Table, TableError};
use echo_shared::token::KeySource;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::front::Front;
use crate::store;

/// Keys asked for at once. They are numbered from 1 on, without a gap.
const AT_ONCE: usize = 10;
/// No more are shown: a key lasts for years.
const MOST: u64 = 1_000;

pub(crate) async fn get_keys<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let caller = front.caller(&headers).await?;
    let keys = stored(&front.app.heads).await.map_err(|error| Problem::unavailable(&error))?;
    let show = |key: &StoredKey| {
        let vkey = verifier_key(&front.app.issuer, &caller.org, key)?;
        Some(json!({ "number": key.number, "vkey": vkey, "created_at": key.created_at }))
    };
    let items: Vec<Value> = keys.iter().filter_map(show).collect();
    Ok(Json(json!({ "items": items, "next": null })))
}

/// The keys as verifiers of one org's log write them.
pub(crate) async fn verifier_keys(heads: &Table, issuer: &Issuer, org: &str) -> Result<Vec<String>, TableError> {
    Ok(stored(heads).await?.iter().filter_map(|key| verifier_key(issuer, org, key)).collect())
}

fn verifier_key(issuer: &Issuer, org: &str, key: &StoredKey) -> Option<String> {
    let public = key.public.as_slice().try_into().ok()?;
    Some(VerifierKey::new(&origin(issuer, org), public).to_string())
}

async fn stored(heads: &Table) -> Result<Vec<StoredKey>, TableError> {
    let mut keys: Vec<StoredKey> = Vec::new();
    for first in (1..=MOST).step_by(AT_ONCE) {
        let wanted: Vec<Item> = (first..).take(AT_ONCE).map(item_key).collect();
        let found: Vec<StoredKey> = serde_dynamo::from_items(store::fetch(heads, &wanted).await?)?;
        let last = found.len() < AT_ONCE;
        keys.extend(found);
        if last {
            break;
        }
    }
    keys.sort_by_key(|key| key.number);
    Ok(keys)
}

fn item_key(number: u64) -> Item {
    Item::from([("pk".into(), AttributeValue::S(key::signing_key(number)))])
}

#[cfg(test)]
mod tests {
    use echo_shared::audit::chunk::StoredKey;
    use echo_shared::audit::note::VerifierKey;
    use echo_shared::config::Issuer;
    use serde_bytes::ByteBuf;

    use super::verifier_key;

    #[test]
    fn a_key_bears_the_name_of_the_log_it_is_shown_for() {
        let issuer = Issuer::parse("https://echo.test").unwrap();
        let key = |bytes: usize| StoredKey {
            number: 1,
            public: ByteBuf::from(vec![7; bytes]),
            sealed: String::new(),
            created_at: String::new(),
        };
        let shown: VerifierKey = verifier_key(&issuer, "a b", &key(32)).unwrap().parse().unwrap();
        assert_eq!(shown, VerifierKey::new("echo.test/audit/v1/log/a%20b", [7; 32]));
        assert_eq!(verifier_key(&issuer, "a", &key(31)), None);
    }
}
