//! Reading: tiles, proofs, entries by id, exports; who may, and what reading leaves behind.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::chunk::{StoredKey, key::signing_key};
use echo_shared::audit::merkle::{
    Hash, Tile, hashes, inclusion, leaf_hash, roots_of, tiles_of, verify_consistency, verify_inclusion,
};
use echo_shared::audit::note::open;
use serde_json::Value;

use super::super::echo::Echo;
use super::{event_of, events};

fn proof(json: &Value) -> Vec<Hash> {
    json.as_array().unwrap().iter().map(hash).collect()
}

fn hash(json: &Value) -> Hash {
    STANDARD.decode(json.as_str().unwrap()).unwrap().try_into().unwrap()
}

async fn json(echo: &Echo, path: &str) -> Value {
    let (status, _, body) = echo.ask(path, &echo.reader("demo")).await;
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_proves_itself() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..700)).await.is_empty());
    let checkpoint = open(&echo.checkpoint("demo").await, &echo.keys("demo").await).unwrap();
    assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (700, "echo.test/audit/v1/log/demo"));
    for index in [0u64, 1, 97, 98, 255, 256, 511, 512, 513, 698, 699] {
        let found = json(&echo, &format!("/audit/v1/proofs/inclusion?index={index}")).await;
        let leaf = hash(&found["leaf_hash"]);
        assert!(verify_inclusion(&leaf, index, 700, &proof(&found["proof"]), &checkpoint.root), "{index}: {found}");
        // And in the smaller trees that it has been in.
        for size in [index + 1, 512, 600].into_iter().filter(|size| *size > index) {
            let older = json(&echo, &format!("/audit/v1/proofs/inclusion?index={index}&size={size}")).await;
            assert!(verify_inclusion(&leaf, index, size, &proof(&older["proof"]), &hash(&older["root"])));
            let grown = json(&echo, &format!("/audit/v1/proofs/consistency?from={size}&to=700")).await;
            let roots = (hash(&grown["from_root"]), hash(&grown["to_root"]));
            assert_eq!(roots, (hash(&older["root"]), checkpoint.root));
            assert!(verify_consistency((size, &roots.0), (700, &roots.1), &proof(&grown["proof"])), "{size}");
        }
        let by_id = json(&echo, &format!("/audit/v1/events/e{index:05}")).await;
        let item = &by_id["items"][0];
        assert_eq!((&item["index"], &item["leaf_hash"]), (&index.into(), &found["leaf_hash"]));
        assert!(verify_inclusion(&leaf, index, 700, &proof(&item["proof"]), &checkpoint.root));
        assert_eq!(item["entry"]["details"]["about"], format!("e{index:05}"));
        assert!(by_id["checkpoint"].as_str().unwrap().starts_with("echo.test/audit/v1/log/demo\n700\n"));
    }
    for (path, expected) in [
        ("/audit/v1/proofs/inclusion", 400),
        ("/audit/v1/proofs/inclusion?index=x", 400),
        ("/audit/v1/proofs/inclusion?index=700", 404),
        ("/audit/v1/proofs/inclusion?index=5&size=5", 404),
        ("/audit/v1/proofs/inclusion?index=5&size=701", 404),
        ("/audit/v1/proofs/inclusion?index=18446744073709551615&size=18446744073709551615", 404),
        ("/audit/v1/proofs/consistency?from=701", 404),
        ("/audit/v1/proofs/consistency?from=20&to=10", 400),
        ("/audit/v1/events/nobody", 404),
    ] {
        assert_eq!(echo.ask(path, &echo.reader("demo")).await.0, expected, "{path}");
    }
}

/// A client of tlog-tiles that knows nothing but the specification: the root and every leaf from tiles and bundles.
#[tokio::test(flavor = "multi_thread")]
async fn tiles_and_bundles_are_laid_out_as_specified() {
    let echo = Echo::start().await;
    for part in 0..2 {
        assert!(echo.consume(&events(part * 300..part * 300 + 300)).await.is_empty());
    }
    let token = echo.reader("demo");
    let get = async |path: &str| echo.ask(&format!("/audit/v1/log/demo/{path}"), &token).await;
    let checkpoint = open(&echo.checkpoint("demo").await, &echo.keys("demo").await).unwrap();
    let mut tiles = BTreeMap::new();
    for (path, tile, width) in [
        ("tile/0/000", (0, 0), 256),
        ("tile/0/001", (0, 1), 256),
        ("tile/0/002.p/88", (0, 2), 88),
        ("tile/1/000.p/2", (1, 0), 2),
    ] {
        let (status, headers, body) = get(path).await;
        assert_eq!((status, body.len()), (200, width * 32), "{path}");
        assert_eq!(headers["content-type"], "application/octet-stream");
        assert!(headers["cache-control"].to_str().unwrap().contains("immutable"));
        tiles.insert(Tile { level: tile.0, index: tile.1 }, hashes(&body).unwrap());
    }
    assert_eq!(roots_of(std::slice::from_ref(&(0..600)), &tiles), Some(vec![checkpoint.root]));
    for (path, tile, count) in [("000", 0, 256), ("001", 1, 256), ("002.p/88", 2, 88)] {
        let (status, _, bundle) = get(&format!("tile/entries/{path}")).await;
        assert_eq!((status, get(&format!("entries/{path}")).await.2 == bundle), (200, true));
        let mut rest = bundle.as_slice();
        for hash in &tiles[&Tile { level: 0, index: tile }][..count] {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            assert_eq!(leaf_hash(&rest[2..2 + length]), *hash);
            rest = &rest[2 + length..];
        }
        assert!(rest.is_empty());
    }
    // What was partial once is served on: the tree of 300 entries had a tile of 44.
    assert_eq!(get("tile/0/001.p/44").await.2, tiles[&Tile { level: 0, index: 1 }].concat()[..44 * 32]);
    for path in [
        "tile/0/003",
        "tile/0/002",
        "tile/0/002.p/89",
        "tile/0/002.p/0",
        "tile/0/002.p/256",
        "tile/1/000",
        "tile/2/000",
        "tile/64/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/0/x001/2",
        "tile/0/-01",
        "tile/entries/003",
        "tile/0/000.p/",
        "tile/0",
        "tile/x/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(get(path).await.0, 404, "{path}");
    }
    let ranges = inclusion(599, 600);
    assert!(tiles_of(&ranges).keys().all(|tile| tiles.contains_key(tile)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_another_org_s_log() {
    let echo = Echo::start().await;
    assert!(echo.consume(&[event_of("demo", "1"), event_of("acme", "2")]).await.is_empty());
    let acme = echo.reader("acme");
    for path in ["checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1", "entries/000.p/1"] {
        assert_eq!(echo.ask(&format!("/audit/v1/log/demo/{path}"), &acme).await.0, 403, "{path}");
    }
    assert_eq!(echo.ask("/audit/v1/events/1", &acme).await.0, 404);
    assert!(echo.export("acme").await.iter().all(|line| !line.contains("\"org\":\"demo\"")));
    let powerless = echo.token(|claims| claims["scope"] = "events.write".into());
    for path in
        ["events/1", "keys", "export", "proofs/inclusion?index=0", "proofs/consistency?from=0", "log/demo/checkpoint"]
    {
        assert_eq!(echo.ask(&format!("/audit/v1/{path}"), &powerless).await.0, 403, "{path}");
        assert_eq!(echo.ask(&format!("/audit/v1/{path}"), "").await.0, 401, "{path}");
    }
    let nobody = echo.reader("empty");
    for path in ["export", "log/empty/checkpoint", "proofs/inclusion?index=0"] {
        assert_eq!(echo.ask(&format!("/audit/v1/{path}"), &nobody).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_an_entry_once_in_ten_minutes() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..3)).await.is_empty());
    let reads = async || {
        echo.drain().await;
        let found = json(&echo, "/audit/v1/events?action=audit.read&limit=100").await;
        found["items"].as_array().unwrap().clone()
    };
    // The look itself is a read, and is in the log for the next one.
    assert_eq!((reads().await.len(), reads().await.len()), (0, 1));
    let token = echo.reader("demo");
    for _ in 0..3 {
        for path in [
            "events?actor=u1",
            "events?actor=u1&limit=1",
            "events/e00000",
            "events?id=e00000",
            "export?format=csv",
            "log/demo/entries/000.p/3",
            "log/demo/tile/entries/000.p/2",
        ] {
            assert_eq!(echo.ask(&format!("/audit/v1/{path}"), &token).await.0, 200, "{path}");
        }
        for path in ["keys", "log/demo/checkpoint", "log/demo/tile/0/000.p/3", "proofs/inclusion?index=0"] {
            assert_eq!(echo.ask(&format!("/audit/v1/{path}"), &token).await.0, 200);
        }
    }
    let found = reads().await;
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|entry| entry["actor"]["id"] == "demo-service" && entry["source"] == "/query"));
    assert!(found.iter().any(|entry| entry["details"]["query"]["actor"] == "u1"), "{found:#?}");
    echo.pass(601);
    assert_eq!((reads().await.len(), reads().await.len()), (5, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_comes_with_all_that_was_hashed() {
    let echo = Echo::start().await;
    // What gateways make of such an id in a path differs; as a parameter it is one everywhere.
    assert!(echo.consume(&[event_of("demo", "a/b?c#d%25 .."), event_of("demo", "..")]).await.is_empty());
    let root = open(&echo.checkpoint("demo").await, &echo.keys("demo").await).unwrap().root;
    for (id, index) in [("a%2Fb%3Fc%23d%2525+..", 0), ("..", 1)] {
        let found = json(&echo, &format!("/audit/v1/events?id={id}")).await;
        let item = &found["items"][0];
        let leaf = [&[1], serde_json::to_string(&item["leaf"]).unwrap().as_bytes()].concat();
        assert!(verify_inclusion(&leaf_hash(&leaf), index, 2, &proof(&item["proof"]), &root), "{found}");
        let salt = STANDARD.decode(item["salt"].as_str().unwrap()).unwrap();
        let commitment = echo_shared::audit::merkle::hash(&[&salt, item["personal"].to_string().as_bytes()]);
        assert_eq!((&item["version"], hash(&item["leaf"]["personal"])), (&1.into(), commitment));
        assert_eq!((&found["more"], found["items"].as_array().unwrap().len()), (&false.into(), 1));
    }
    for (query, expected) in [("id=b", 404), ("id=", 404), ("id=..&actor=u1", 400), ("limit=1&limit=2", 400)] {
        let (status, headers, _) = echo.ask(&format!("/audit/v1/events?{query}"), &echo.reader("demo")).await;
        let kind = headers["content-type"].to_str().unwrap();
        assert_eq!((status, kind), (expected, "application/problem+json"), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_are_shown() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..1)).await.is_empty());
    let (client, table) = echo.audit.heads.raw();
    for number in 2..=20u8 {
        let key = StoredKey {
            number: number.into(),
            public: vec![number; 32].into(),
            sealed: String::new(),
            created_at: String::new(),
        };
        let put = client.put_item().table_name(table).set_item(Some(serde_dynamo::to_item(key).unwrap()));
        put.item("pk", AttributeValue::S(signing_key(number.into()))).send().await.unwrap();
        if [9, 10, 11, 20].contains(&number) {
            let keys = json(&echo, "/audit/v1/keys").await;
            let numbers = keys["items"].as_array().unwrap().iter().map(|key| key["number"].as_u64().unwrap());
            assert!(numbers.eq(1..=number.into()), "{keys}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_looked_for_in_a_window() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..250)).await.is_empty());
    let window = "from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:01Z";
    let found = json(&echo, &format!("/audit/v1/events?text=E00123&{window}")).await;
    assert_eq!((found["items"].as_array().unwrap().len(), &found["items"][0]["id"]), (1, &"e00123".into()), "{found}");
    assert!(found["scanned_to"].is_string(), "{found}");
    assert_eq!(json(&echo, &format!("/audit/v1/events?text=nowhere&{window}")).await["items"], serde_json::json!([]));
    let token = echo.reader("demo");
    for query in ["text=x", "text=x&from=2026-01-01T00:00:00Z", &format!("text=&{window}")] {
        assert_eq!(echo.ask(&format!("/audit/v1/events?{query}"), &token).await.0, 400, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_what_their_readers_expect() {
    let echo = Echo::start().await;
    let mut odd: Value = serde_json::from_str(&event_of("demo", "odd")).unwrap();
    odd["data"]["action"] = "login.failed".into();
    odd["data"]["actor"]["name"] = "=HYPERLINK(\"x\"),\n\"q\"".into();
    assert!(echo.consume(&[odd.to_string(), event_of("demo", "plain")]).await.is_empty());
    let token = echo.reader("demo");
    let (_, headers, csv) = echo.ask("/audit/v1/export?format=csv", &token).await;
    let csv = String::from_utf8(csv).unwrap();
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    assert!(
        csv.starts_with("index,leaf_hash,id,time,") && csv.contains("\"'=HYPERLINK(\"\"x\"\"),\n\"\"q\"\"\""),
        "{csv}"
    );
    let (_, _, ocsf) = echo.ask("/audit/v1/export?format=ocsf", &token).await;
    let lines: Vec<Value> =
        String::from_utf8(ocsf).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["class_uid"].as_u64().unwrap()).collect::<Vec<_>>(), [3002, 6003]);
    assert!(lines.iter().all(|line| {
        line["type_uid"].as_u64()
            == Some(line["class_uid"].as_u64().unwrap() * 100 + line["activity_id"].as_u64().unwrap())
    }));
    for query in ["format=xml", "cursor=%25", "cursor=fn5-"] {
        assert_eq!(echo.ask(&format!("/audit/v1/export?{query}"), &token).await.0, 400, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_exported_in_parts() {
    let echo = Echo::start().await;
    let big = |n: usize| {
        let mut event: Value = serde_json::from_str(&event_of("demo", &format!("b{n}"))).unwrap();
        event["data"]["details"]["blob"] = "z".repeat(50_000).into();
        event.to_string()
    };
    for part in 0..4 {
        assert!(echo.consume(&(part * 50..part * 50 + 50).map(big).collect::<Vec<_>>()).await.is_empty());
    }
    let (_, headers, _) = echo.ask("/audit/v1/export", &echo.reader("demo")).await;
    assert!(headers.contains_key("x-next-cursor") && headers.contains_key("link"));
    assert_eq!(echo.verify("demo", &[]).await.unwrap().size, 200);
}
