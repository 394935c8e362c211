use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use audit_consume::{App, Config, handle};
use aws_sdk_dynamodb::types::AttributeValue;
use echo_local::dynamodb::DynamoDb;
use echo_local::spec::TableSpec;
use echo_local::state::{make_runtime_directory, remove_runtime_directory};
use echo_shared::clock::Clock;
use echo_shared::config::Issuer;
use echo_shared::entropy::Entropy;
use echo_shared::seal::MasterKey;
use echo_shared::secret::Secret;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::super::super::events::batch;
use super::super::made::{Maker, seeded};
use super::{Plan, run};

const NOW: OffsetDateTime = datetime!(2026-01-31 12:00:00 UTC);
/// Two full tiles, and a partial one.
const SIZE: usize = 600;
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

type Items = BTreeMap<String, HashMap<String, AttributeValue>>;

fn events() -> Maker {
    Maker::new("o", 3, NOW, Duration::ZERO)
}

async fn database(file: &Path) -> DynamoDb {
    let database = DynamoDb::start(Some(file)).await.unwrap();
    let table = |name: &str, sort_key: Option<&str>| TableSpec {
        name: name.into(),
        partition_key: "pk".into(),
        sort_key: sort_key.map(Into::into),
        ttl_attribute: None,
        indexes: Vec::new(),
    };
    database.create_tables(&[table("log", Some("sk")), table("heads", None)]).await.unwrap();
    database
}

/// Everything but signatures and the key that makes them, by its key.
async fn content(database: &DynamoDb) -> Items {
    let mut items = Items::new();
    for table in ["log", "heads"] {
        let mut start = None;
        loop {
            let page = database.client().scan().table_name(table).set_exclusive_start_key(start).send().await.unwrap();
            for mut item in page.items.unwrap() {
                item.remove("checkpoint");
                let place = format!("{:?} {:?}", item["pk"], item.get("sk"));
                items.insert(place, item);
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
    }
    items.retain(|_, item| !item["pk"].as_s().unwrap().starts_with("KEY#"));
    items
}

async fn appended(file: &Path) -> Items {
    let database = database(file).await;
    let config = Config {
        issuer: Issuer::parse("http://localhost:9000").unwrap(),
        master_key: MasterKey::parse(&Secret::new(KEY)).unwrap(),
        key_number: 1,
        log_table: "log".into(),
        head_table: "heads".into(),
        bucket: String::new(),
        stack: "test".into(),
    };
    let app = App::new(config, database.client(), Clock::from_fn(|| NOW), seeded(4));
    let mut events = events();
    let bodies: Vec<String> = (0..SIZE).map(|_| events.event().to_body()).collect();
    let done = handle(&app, serde_json::from_slice(&batch(&bodies)).unwrap()).await.unwrap();
    assert!(done.batch_item_failures.is_empty());
    content(&database).await
}

async fn imported(file: &Path) -> Items {
    let database = database(file).await;
    let tables = ("log", "heads");
    let plan =
        Plan { file, tables, org: "o", leaves: Vec::new(), size: SIZE as u64, events: events(), salts: seeded(4) };
    let made = run(plan).await.unwrap();
    assert_eq!(made.chunks[..3], [0, 98, 196]);
    content(&database).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_is_what_audit_consume_writes() {
    let directory = make_runtime_directory(&Entropy::system()).unwrap();
    let appended = appended(&directory.join("appended.sqlite")).await;
    let imported = imported(&directory.join("imported.sqlite")).await;
    assert_eq!(appended.keys().collect::<Vec<_>>(), imported.keys().collect::<Vec<_>>());
    assert_eq!(appended, imported);
    remove_runtime_directory(&directory);
}
