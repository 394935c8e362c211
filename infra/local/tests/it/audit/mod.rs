//! The audit log as a Merkle log: appended to by many, broken off anywhere, tampered with, read and proven.

mod copy;
mod crash;
mod log;
mod prove;
mod tamper;

use axum::body::Body;
use echo_shared::audit::note::VerifierKey;
use echo_verify::{Rejected, Verified, Verifier};
use http::Request;
use serde_json::{Value, json};

use super::echo::Echo;

/// The body of an event of the org `demo`.
pub fn event(id: &str) -> String {
    event_of("demo", id)
}

/// The body of an event.
pub fn event_of(org: &str, id: &str) -> String {
    json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": "audit", "time": "2026-01-01T00:00:00Z", "org": org,
        "data": {"actor": {"type": "User", "id": "u1", "name": "Ursula"}, "action": "document.read",
                 "outcome": "success", "resource": {"type": "Document", "id": id}, "client": {"ip": "192.0.2.7"},
                 "details": {"about": id}},
    })
    .to_string()
}

/// Bodies of events that are numbered.
pub fn events(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|number| event(&format!("e{number:05}"))).collect()
}

impl Echo {
    /// A token of somebody who may read an org's log.
    pub fn reader(&self, org: &str) -> String {
        self.token(|claims| claims["org"] = org.into())
    }

    /// Asks the function query; status, headers and body.
    pub async fn ask(&self, path: &str, token: &str) -> (u16, http::HeaderMap, Vec<u8>) {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        let response = self.route("query", request.body(Body::empty()).unwrap()).await;
        let (parts, body) = response.into_parts();
        (parts.status.as_u16(), parts.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec())
    }

    /// The checkpoint of an org's log.
    pub async fn checkpoint(&self, org: &str) -> String {
        let (status, _, note) = self.ask(&format!("/audit/v1/log/{org}/checkpoint"), &self.reader(org)).await;
        assert_eq!(status, 200);
        String::from_utf8(note).unwrap()
    }

    /// The keys that sign an org's checkpoints.
    pub async fn keys(&self, org: &str) -> Vec<VerifierKey> {
        let (_, _, answer) = self.ask("/audit/v1/keys", &self.reader(org)).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let keys = answer["items"].as_array().unwrap().iter().map(|key| key["vkey"].as_str().unwrap().parse().unwrap());
        keys.collect()
    }

    /// An org's whole log, line by line.
    pub async fn export(&self, org: &str) -> Vec<String> {
        let (mut lines, mut cursor, token) = (Vec::new(), String::new(), self.reader(org));
        loop {
            let (status, headers, part) = self.ask(&format!("/audit/v1/export{cursor}"), &token).await;
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&part));
            assert!(part.len() <= 4_000_000);
            lines.extend(String::from_utf8(part).unwrap().lines().map(str::to_owned));
            match headers.get("x-next-cursor") {
                Some(next) => cursor = format!("?cursor={}", next.to_str().unwrap()),
                None => return lines,
            }
        }
    }

    /// What the verifier says of an org's export, holding it against checkpoints that are kept elsewhere.
    pub async fn verify(&self, org: &str, kept: &[String]) -> Result<Verified, Rejected> {
        verify(&self.export(org).await, &self.keys(org).await, kept)
    }
}

/// What the verifier says of an export.
pub fn verify(lines: &[String], keys: &[VerifierKey], kept: &[String]) -> Result<Verified, Rejected> {
    let mut verifier = Verifier::new(keys.to_vec()).unwrap();
    for note in kept {
        assert!(verifier.know("kept", note).unwrap(), "of another log: {note}");
    }
    for line in lines {
        if !verifier.line(line.as_bytes()) {
            break;
        }
    }
    verifier.finish()
}
