//! What is stored is not what was written: it is named, and its neighbours are served.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use echo_shared::log::key::{HOUR, Place};
use serde_json::{Value, json};

use super::super::echo::Echo;
use super::store::large;
use super::{Item, bodies, bytes, hex, items, range, string, trace_in};

/// Three blocks of an hour, the items of the first, and its name.
struct Damaged {
    echo: Echo,
    hour: u64,
    header: Item,
    payload: Item,
    id: String,
}

impl Damaged {
    async fn new() -> Self {
        let echo = Echo::start().await;
        let hour = echo.hour();
        assert_eq!(echo.keep(&[1, 2, 3].map(|number| large(hour, number))).await, [0usize; 0]);
        let headers = echo.stored_as("HEADER").await;
        let header = headers.into_iter().min_by_key(|item| string(item, "sk")).unwrap();
        let id = Place::parse(&string(&header, "sk")).unwrap().id.to_string();
        let payloads = echo.stored_as("BLOCK").await;
        let payload = payloads.into_iter().find(|item| string(item, "pk").contains(&id)).unwrap();
        let damaged = Self { echo, hour, header, payload, id };
        damaged.is_whole().await;
        damaged
    }

    async fn page(&self) -> Value {
        self.echo.read_logs(&format!("query?{}&limit=100&text=%200%20", self.window())).await
    }

    fn window(&self) -> String {
        range(self.hour, self.hour + HOUR)
    }

    async fn stats(&self) -> (u64, Value) {
        let page = self.echo.read_logs(&format!("stats?{}", self.window())).await;
        (items(&page).iter().map(|item| item["lines"].as_u64().unwrap()).sum(), page["damaged"].clone())
    }

    async fn trace(&self, number: u64) -> (usize, Value) {
        let page = self.echo.read_logs(&format!("traces/{}", hex(&trace_in(self.hour, number)))).await;
        (items(&page).len(), page["damaged"].clone())
    }

    async fn is_whole(&self) {
        let page = self.page().await;
        assert_eq!((blocks(&page), &page["damaged"]), (BTreeSet::from([1, 2, 3]), &json!([])), "{page}");
        assert_eq!(self.stats().await, (180, json!([])));
        assert_eq!(self.trace(1).await, (60, json!([])));
    }

    /// Searches name the block, and find what is in the others.
    async fn is_named(&self, case: &str) {
        let page = self.page().await;
        assert_eq!(blocks(&page), BTreeSet::from([2, 3]), "{case}: {page}");
        assert_eq!((&page["damaged"], &page["next"]), (&json!([self.id]), &Value::Null), "{case}: {page}");
        assert_eq!(self.trace(2).await, (60, json!([])), "{case}");
    }
}

/// Which of the blocks have lines on the page.
fn blocks(page: &Value) -> BTreeSet<u64> {
    let number = |body: &String| body.split(' ').nth(1).unwrap().parse().unwrap();
    bodies(items(page)).iter().map(number).collect()
}

/// An item with a flipped bit.
fn flipped(item: &Item, name: &str, at: usize) -> Item {
    let mut content = bytes(item, name);
    content[at] ^= 1 << (at % 8);
    let mut item = item.clone();
    item.insert(name.into(), AttributeValue::B(Blob::new(content)));
    item
}

/// Nine places from the first to the last.
fn places(length: usize) -> impl Iterator<Item = usize> {
    (0..9).map(move |n| n * (length - 1) / 8)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_payload() {
    let damaged = Damaged::new().await;
    for at in places(bytes(&damaged.payload, "data").len()) {
        damaged.echo.put_stored(flipped(&damaged.payload, "data", at)).await;
        damaged.is_named(&format!("byte {at}")).await;
        assert_eq!(damaged.trace(1).await, (0, json!([damaged.id])), "byte {at}");
        // Headers know of it all the same.
        assert_eq!(damaged.stats().await, (180, json!([])));
    }
    damaged.echo.put_stored(damaged.payload.clone()).await;
    damaged.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_missing() {
    let damaged = Damaged::new().await;
    damaged.echo.remove_stored(&damaged.payload).await;
    damaged.is_named("missing").await;
    // A posting may outlive its block, and there are some of folds that were given up: it promises nothing.
    assert_eq!(damaged.trace(1).await, (0, json!([])));
    damaged.echo.put_stored(damaged.payload.clone()).await;
    damaged.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_another_block() {
    let damaged = Damaged::new().await;
    let payloads = damaged.echo.stored_as("BLOCK").await;
    let other = payloads.iter().find(|item| !string(item, "pk").contains(&damaged.id)).unwrap();
    let mut swapped = damaged.payload.clone();
    swapped.insert("data".into(), other["data"].clone());
    damaged.echo.put_stored(swapped).await;
    damaged.is_named("swapped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_header() {
    let damaged = Damaged::new().await;
    for at in places(bytes(&damaged.header, "header").len()) {
        damaged.echo.put_stored(flipped(&damaged.header, "header", at)).await;
        damaged.is_named(&format!("byte {at}")).await;
        assert_eq!(damaged.stats().await, (120, json!([damaged.id])), "byte {at}");
    }
    damaged.echo.put_stored(damaged.header.clone()).await;
    damaged.is_whole().await;
}

/// A posting has no block to name: its own name is told, and nothing is missing without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_posting() {
    let damaged = Damaged::new().await;
    let prefix = format!("TRACE#{:02x}#demo", trace_in(damaged.hour, 1)[0]);
    let postings = damaged.echo.stored_as("TRACE").await;
    let posting = postings.into_iter().find(|item| string(item, "pk") == prefix).unwrap();
    let name = string(&posting, "sk").split_once('#').unwrap().1.to_owned();
    for at in places(bytes(&posting, "posting").len()) {
        damaged.echo.put_stored(flipped(&posting, "posting", at)).await;
        let (_, named) = damaged.trace(1).await;
        assert_eq!(named, json!([name]), "byte {at}");
        assert_eq!(damaged.trace(2).await, (60, json!([])), "byte {at}");
        let page = damaged.page().await;
        assert_eq!((blocks(&page), &page["damaged"]), (BTreeSet::from([1, 2, 3]), &json!([])), "searches do without");
    }
    damaged.echo.put_stored(posting).await;
    damaged.is_whole().await;
}
