//! Somebody with all rights on the tables, but without the key, changes the log: the verifier says where, or a
//! checkpoint off the database does.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use echo_shared::audit::chunk::{Chunk, key};
use echo_shared::audit::leaf::Leaf;
use echo_verify::Verifier;

use super::super::echo::Echo;
use super::{event_of, events, verify};

type Item = HashMap<String, AttributeValue>;

/// Whoever holds the tables.
struct Intruder<'a>(&'a Echo);

impl Intruder<'_> {
    /// All items of a table.
    async fn items(&self, table: &str) -> Vec<Item> {
        let client = self.0.audit.log.raw().0;
        let (mut items, mut start) = (Vec::new(), None);
        loop {
            let page = client.scan().table_name(table).set_exclusive_start_key(start).send().await.unwrap();
            items.extend(page.items.unwrap());
            start = page.last_evaluated_key;
            if start.is_none() {
                return items;
            }
        }
    }

    async fn put(&self, table: &str, item: Item) {
        self.0.audit.log.raw().0.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }

    async fn delete(&self, table: &str, item: &Item) {
        let names = if table.ends_with("head") { &["pk"][..] } else { &["pk", "sk"] };
        let key = names.iter().map(|name| ((*name).to_owned(), item[*name].clone())).collect();
        self.0.audit.log.raw().0.delete_item().table_name(table).set_key(Some(key)).send().await.unwrap();
    }

    /// The chunk that begins at an index.
    async fn chunk(&self, org: &str, first: u64) -> (Item, Chunk) {
        let key = [("pk", key::chunks(org)), ("sk", key::place(first))];
        let mut get = self.0.audit.log.raw().0.get_item().table_name(LOG);
        for (name, value) in key {
            get = get.key(name, AttributeValue::S(value));
        }
        let item = get.send().await.unwrap().item.unwrap();
        (item.clone(), serde_dynamo::from_item(item).unwrap())
    }

    /// Rewrites the entries of a chunk; its hashes stay as they are unless `with_hashes`.
    async fn rewrite(&self, org: &str, first: u64, with_hashes: bool, change: impl FnOnce(&mut Vec<Leaf>)) {
        let (mut item, chunk) = self.chunk(org, first).await;
        let mut leaves = chunk.leaves().unwrap();
        change(&mut leaves);
        let changed = Chunk::new(&leaves).unwrap();
        item.insert("data".into(), AttributeValue::B(Blob::new(changed.data.into_vec())));
        if with_hashes {
            item.insert("hashes".into(), AttributeValue::B(Blob::new(changed.hashes.into_vec())));
        }
        self.put(LOG, item).await;
    }
}

const LOG: &str = "echo-audit_log";
const HEADS: &str = "echo-audit_head";

fn edit(leaf: &mut Leaf) {
    let text = String::from_utf8(leaf.bytes.clone()).unwrap();
    leaf.bytes = text.replace("\"success\"", "\"failure\"").into_bytes();
}

/// A log of 400 entries in chunks of 98: a full tile, and what no tile covers yet.
async fn log() -> (Echo, String) {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..400)).await.is_empty());
    let kept = echo.checkpoint("demo").await;
    (echo, kept)
}

/// The code and index of what the verifier finds.
async fn found(echo: &Echo, kept: &[String]) -> (&'static str, Option<u64>) {
    let finding = echo.verify("demo", kept).await.expect_err("it was tampered with").finding;
    (finding.code(), finding.index())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_entry_is_named() {
    let (echo, _) = log().await;
    // Under the full tile, and behind it.
    for (first, place) in [(0, 40), (292, 97)] {
        Intruder(&echo).rewrite("demo", first, false, |leaves| edit(&mut leaves[place])).await;
        assert_eq!(found(&echo, &[]).await, ("changed", Some(first + place as u64)));
        Intruder(&echo).rewrite("demo", first, false, |leaves| undo(&mut leaves[place])).await;
        assert!(echo.verify("demo", &[]).await.is_ok());
    }
}

fn undo(leaf: &mut Leaf) {
    let text = String::from_utf8(leaf.bytes.clone()).unwrap();
    leaf.bytes = text.replace("\"failure\"", "\"success\"").into_bytes();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_entry_with_its_hash_is_named_by_its_tile() {
    let (echo, _) = log().await;
    Intruder(&echo).rewrite("demo", 98, true, |leaves| edit(&mut leaves[2])).await;
    assert_eq!(found(&echo, &[]).await, ("changed", Some(100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_everything_is_named_as_exactly_as_checkpoints_allow() {
    let echo = Echo::start().await;
    let mut kept = Vec::new();
    for part in 0..4 {
        assert!(echo.consume(&events(part * 60..part * 60 + 60)).await.is_empty());
        kept.push(echo.checkpoint("demo").await);
    }
    // No tile covers entry 150 yet, and the intruder changes its hash as well.
    Intruder(&echo).rewrite("demo", 120, true, |leaves| edit(&mut leaves[30])).await;
    assert_eq!(found(&echo, &[]).await, ("root", Some(0)));
    assert_eq!(found(&echo, &kept).await, ("root", Some(120)), "the checkpoints of 60 and 120 still hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_personal_details_are_named() {
    let (echo, _) = log().await;
    Intruder(&echo)
        .rewrite("demo", 196, false, |leaves| {
            let personal = leaves[4].personal.as_mut().unwrap();
            personal.json = personal.json.replace("192.0.2.7", "192.0.2.8");
        })
        .await;
    assert_eq!(found(&echo, &[]).await, ("personal_changed", Some(200)));
    Intruder(&echo).rewrite("demo", 196, false, |leaves| leaves[4].personal = None).await;
    assert_eq!(found(&echo, &[]).await, ("personal_gone", Some(200)));
    // Whoever knows that they were destroyed finds every proof as it was: that is what the salted hash is for.
    let mut verifier = Verifier::new(echo.keys("demo").await).unwrap().allow_erased();
    assert!(echo.export("demo").await.iter().all(|line| verifier.line(line.as_bytes())));
    assert_eq!(verifier.finish().unwrap().erased, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_entries_are_named() {
    let (echo, _) = log().await;
    let (item, _) = Intruder(&echo).chunk("demo", 98).await;
    Intruder(&echo).delete(LOG, &item).await;
    assert_eq!(found(&echo, &[]).await, ("missing", Some(98)));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_entries_that_no_tile_covers_are_named() {
    let (echo, _) = log().await;
    let (item, _) = Intruder(&echo).chunk("demo", 292).await;
    Intruder(&echo).delete(LOG, &item).await;
    let (_, index) = found(&echo, &[]).await;
    assert_eq!(index, Some(292));
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_entries_are_named() {
    let (echo, _) = log().await;
    Intruder(&echo).rewrite("demo", 0, false, |leaves| leaves.swap(10, 90)).await;
    assert_eq!(found(&echo, &[]).await, ("changed", Some(10)));
    Intruder(&echo).rewrite("demo", 0, true, |_| ()).await;
    assert_eq!(found(&echo, &[]).await, ("changed", Some(10)), "the tile still knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_tail_is_named() {
    let (echo, _) = log().await;
    let (whole, keys) = (echo.export("demo").await, echo.keys("demo").await);
    Intruder(&echo).rewrite("demo", 390, true, |leaves| leaves.truncate(5)).await;
    let (_, index) = found(&echo, &[]).await;
    assert!(index.is_some_and(|index| index <= 395), "{index:?}");
    // In an export, where the intruder can cut lines but sign nothing.
    let lines = [&whole[..390], &whole[400..]].concat();
    let finding = verify(&lines, &keys, &[]).unwrap_err().finding;
    assert_eq!((finding.code(), finding.index()), ("cut", Some(390)));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_another_org_are_named() {
    let (echo, _) = log().await;
    let others: Vec<String> = (0..400).map(|n| event_of("acme", &format!("a{n}"))).collect();
    assert!(echo.consume(&others).await.is_empty());
    let (mut item, _) = Intruder(&echo).chunk("acme", 98).await;
    item.insert("pk".into(), AttributeValue::S(key::chunks("demo")));
    Intruder(&echo).put(LOG, item).await;
    assert_eq!(found(&echo, &[]).await, ("changed", Some(98)));
    // Both logs swapped whole: each is consistent in itself.
    for table in [LOG, HEADS] {
        for mut item in Intruder(&echo).items(table).await {
            let pk = item["pk"].as_s().unwrap().clone();
            let Some((kind, org)) = pk.split_once('#').filter(|(kind, _)| *kind != "KEY") else { continue };
            let other = if org == "demo" { "acme" } else { "demo" };
            item.insert("pk".into(), AttributeValue::S(format!("SWAPPED{kind}#{other}")));
            Intruder(&echo).put(table, item).await;
        }
        for mut item in Intruder(&echo).items(table).await {
            let Some(pk) = item["pk"].as_s().unwrap().strip_prefix("SWAPPED").map(str::to_owned) else { continue };
            Intruder(&echo).delete(table, &item).await;
            item.insert("pk".into(), AttributeValue::S(pk));
            Intruder(&echo).put(table, item).await;
        }
    }
    assert_eq!(found(&echo, &[]).await, ("other_org", Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_were_rolled_back_are_caught_by_a_checkpoint_that_was_not() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..300)).await.is_empty());
    let backup = [(LOG, Intruder(&echo).items(LOG).await), (HEADS, Intruder(&echo).items(HEADS).await)];
    assert!(echo.consume(&events(300..500)).await.is_empty());
    let kept = [echo.checkpoint("demo").await];
    for (table, items) in backup {
        for item in Intruder(&echo).items(table).await {
            Intruder(&echo).delete(table, &item).await;
        }
        for item in items {
            Intruder(&echo).put(table, item).await;
        }
    }
    // Consistent in itself, also when it has grown on to the same size.
    assert_eq!(echo.verify("demo", &[]).await.unwrap().size, 300);
    assert_eq!(found(&echo, &kept).await, ("rolled_back", Some(300)));
    let consumer = echo.consumer(1, None);
    assert!(super::super::echo::consume(&consumer, &events(600..800)).await.is_empty());
    assert_eq!(echo.verify("demo", &[]).await.unwrap().size, 500);
    assert_eq!(found(&echo, &kept).await, ("root", Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_head_is_no_head() {
    let (echo, kept) = log().await;
    let mut head = Intruder(&echo).items(HEADS).await.into_iter().find(|item| item.contains_key("checkpoint")).unwrap();
    let forged = kept.replacen("\n400\n", "\n399\n", 1);
    head.insert("checkpoint".into(), AttributeValue::S(forged));
    head.insert("tree_size".into(), AttributeValue::N("399".into()));
    Intruder(&echo).put(HEADS, head).await;
    assert_eq!(found(&echo, &[]).await.0, "checkpoint");
}
