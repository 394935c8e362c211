//! A server that lies.

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use echo_shared::audit::Entry;
use echo_shared::audit::leaf::Leaf;
use echo_shared::audit::merkle::{Frontier, leaf_hash};
use echo_shared::audit::note::{Checkpoint, Signer, VerifierKey};
use serde_json::{Value, json};

use super::{Answer, Show};
use crate::Refuted;

const ORIGIN: &str = "echo.example/audit/v1/log/demo";
const ID: &str = "a/b?c#d%25";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    show: Show,
}

/// A log of two entries.
struct Log {
    signer: Signer,
    leaves: [Leaf; 2],
}

impl Log {
    fn new(org: &str) -> Self {
        let leaf = |id: &str| {
            let entry: Entry = serde_json::from_value(json!({
                "id": id, "time": "t", "received_at": "r", "org": org, "source": "/login",
                "actor": {"type": "User", "id": "u", "name": "Zo\u{eb}"}, "action": "login.failed",
                "outcome": "failure", "request_id": "q", "client": {"ip": "192.0.2.1"}, "details": {"n": 1e21},
            }))
            .unwrap();
            Leaf::new(&entry, [7; 16]).unwrap()
        };
        let signer = Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap();
        Self { signer, leaves: [ID, "other"].map(leaf) }
    }

    /// The honest answer about one of the two.
    fn answer(&self, index: usize) -> String {
        let [leaf, other] = if index == 0 { [0, 1] } else { [1, 0] }.map(|index| &self.leaves[index]);
        let mut tree = Frontier::default();
        self.leaves.iter().for_each(|leaf| tree.push(leaf_hash(&leaf.bytes)));
        let note = json!(self.signer.sign(&Checkpoint::of(ORIGIN, &tree)));
        let (personal, proof) = (leaf.personal.as_ref().unwrap(), STANDARD.encode(leaf_hash(&other.bytes)));
        let (salt, text) = (STANDARD.encode(personal.salt), leaf.json().unwrap());
        let entry = serde_json::to_string(&leaf.entry().unwrap()).unwrap();
        format!(
            r#"{{"items":[{{"index":{index},"entry":{entry},"version":1,"leaf":{text},"salt":"{salt}","personal":{},"proof":["{proof}"],"size":2}}],"checkpoint":{note}}}"#,
            personal.json
        )
    }

    fn show(&self, url: &str, more: &[&str]) -> Show {
        let key = VerifierKey::new(ORIGIN, self.signer.public()).to_string();
        Cli::parse_from([&["show", ID, "--url", url, "--token", "t", "--key", &key], more].concat()).show
    }

    /// What the command exits with when the server answers so.
    async fn exit(&self, answer: &str, more: &[&str]) -> u8 {
        let (answer, listener) = (answer.to_owned(), tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap());
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route(
            "/audit/v1/events",
            get(|uri: http::Uri| async move {
                assert_eq!(uri.query(), Some("id=a%2Fb%3Fc%23d%2525"));
                answer
            }),
        );
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        let outcome = self.show(&url, more).run().await;
        server.abort();
        match outcome {
            Ok(()) => 0,
            Err(failure) if failure.is::<Refuted>() => 2,
            Err(_) => 1,
        }
    }
}

#[tokio::test]
async fn what_is_in_the_log_is_verified() {
    let log = Log::new("demo");
    for more in [&[][..], &["--json"]] {
        assert_eq!(log.exit(&log.answer(0), more).await, 0);
    }
    assert_eq!(log.exit(r#"{"items":[],"checkpoint":""}"#, &[]).await, 1);
    assert_eq!(log.exit(r#"{"items":[{"index":0,"entry":{}}],"checkpoint":""}"#, &[]).await, 1);
}

#[tokio::test]
async fn a_forged_entry_is_refuted() {
    let log = Log::new("demo");
    let good = log.answer(0);
    let (public, rest) = good.split_once(r#","salt""#).unwrap();
    let bare = format!(r#"{public},"proof"{}"#, rest.split_once(r#","proof""#).unwrap().1);
    let forged = |from: &str, to: &str| good.replace(from, to);
    for (name, answer) in [
        ("outcome", forged(r#""outcome":"failure""#, r#""outcome":"success""#)),
        ("outcome, without salt", bare.replace(r#""outcome":"failure""#, r#""outcome":"success""#)),
        ("address", forged("192.0.2.1", "192.0.2.2")),
        ("salt", forged(&STANDARD.encode([7; 16]), &STANDARD.encode([8; 16]))),
        ("version", forged(r#""version":1"#, r#""version":2"#)),
        ("index", forged(r#""index":0"#, r#""index":1"#)),
        ("size", forged(r#""size":2"#, r#""size":3"#)),
        ("another event", log.answer(1)),
        ("no salt", bare.clone()),
        ("another log's", Log::new("other").answer(0)),
    ] {
        assert_eq!(log.exit(&answer, &[]).await, 2, "{name}");
    }
    assert_eq!(log.exit(&bare, &["--allow-erased"]).await, 0);
    let other = Log::new("other");
    assert_eq!(other.exit(&other.answer(0), &[]).await, 2, "of another org");
}

/// Only what was hashed is printed, and as JSON byte for byte, so that others can verify it again.
#[test]
fn what_nothing_binds_is_not_shown() {
    let log = Log::new("demo");
    let leaf = log.leaves[0].json().unwrap();
    let answer = log.answer(0);
    let (entry, rest) = answer.split_once(r#","version""#).unwrap();
    let forged = format!(r#"{},"version"{rest}"#, entry.replace("failure", "success"));
    let forged: Answer = serde_json::from_str(&forged).unwrap();
    let show = log.show("http://127.0.0.1", &[]);
    let keys = [VerifierKey::new(ORIGIN, log.signer.public())];
    let judged = show.judge(&forged.items[0], &forged.checkpoint, &keys);
    let (text, json) = (judged.text(), serde_json::to_string(&judged.shown()).unwrap());
    assert!(text.contains("verified: in echo.example") && text.contains("192.0.2.1"), "{text}");
    assert!(!text.contains("success") && !json.contains("success"), "{text}{json}");
    assert!(json.contains(leaf) && json.contains(r#"{"details":{"n":1e+21}"#), "{json}");
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["verified"], true);
}
