//! Echo as its callers see it: a base URL.

use std::time::Duration;

use serde_json::{Value, json};

pub struct Echo {
    pub url: String,
    pub http: reqwest::Client,
    /// The confidential client that speaks for a service.
    service_id: String,
    service_secret: String,
}

impl Echo {
    pub fn new(url: &str, (service_id, service_secret): (&str, &str)) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { url: url.into(), http, service_id: service_id.into(), service_secret: service_secret.into() }
    }

    pub async fn service_token(&self) -> String {
        let form = [("grant_type", "client_credentials")];
        let request = self.http.post(format!("{}/oauth2/token", self.url)).form(&form);
        let request = request.basic_auth(&self.service_id, Some(&self.service_secret));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub async fn authorize(&self, service: &str, subject: &str, action: &str) -> Value {
        let body = json!({"token": subject, "action": action, "resource": {"type": "Document", "id": "d1"}});
        let request = self.http.post(format!("{}/authorize", self.url)).bearer_auth(service).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Sends audit events with these ids.
    pub async fn report(&self, service: &str, ids: &[String]) -> reqwest::Response {
        let event = |id: &String| {
            json!({"specversion": "1.0", "id": id, "type": "audit",
                   "data": {"actor": {"type": "User", "id": "u"}, "action": "e2e.reported", "outcome": "success"}})
        };
        let events: Vec<Value> = ids.iter().map(event).collect();
        let request = self.http.post(format!("{}/events", self.url)).bearer_auth(service).json(&events);
        request.send().await.unwrap()
    }

    /// The whole audit log, through the pages of the API.
    pub async fn audit_log(&self, service: &str) -> Vec<Value> {
        let (mut entries, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut request = self.http.get(format!("{}/audit/v1/events?limit=100", self.url)).bearer_auth(service);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            let page: Value = response.json().await.unwrap();
            entries.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return entries,
            }
        }
    }

    /// Waits until `enough` says so of the audit log; returns it.
    pub async fn audit_log_when(&self, service: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..1_800 {
            let log = self.audit_log(service).await;
            if enough(&log) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the audit log never got there: {:#?}", self.audit_log(service).await);
    }
}

/// How many entries have this member at `pointer`.
pub fn count(log: &[Value], pointer: &str, value: &str) -> usize {
    log.iter().filter(|entry| entry.pointer(pointer).and_then(Value::as_str) == Some(value)).count()
}
