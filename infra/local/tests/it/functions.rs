//! ingest, audit-consume, query, authorize and relay over real queues and tables.

use axum::body::Body;
use echo_shared::entropy::Entropy;
use echo_shared::event::Envelope;
use echo_shared::metric::Metric;
use http::Request;
use serde_json::{Value, json};

use super::echo::Echo;

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "type": "audit", "data":
           {"actor": {"type": "User", "id": "u1"}, "action": "document.read", "outcome": "success",
            "resource": {"type": "Document", "id": "d1"}}})
}

fn full(id: &str, time: &str) -> String {
    let mut event = event(id);
    event["org"] = "demo".into();
    event["source"] = "/test".into();
    event["time"] = time.into();
    event.to_string()
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_found() {
    let echo = Echo::start().await;
    let token = echo.token(|_| {});
    let (status, answer) = echo.post("ingest", "/events", &token, &json!([event("1"), event("2")])).await;
    assert_eq!((status.as_u16(), &answer["ids"]), (202, &json!(["1", "2"])), "{answer}");
    assert_eq!(echo.drain().await, 2);
    let log = echo.log().await;
    assert_eq!(log.len(), 2);
    let entry = &log[0];
    assert_eq!((&entry["org"], &entry["source"]), (&json!("demo"), &json!("/clients/demo-service")));
    assert_eq!(entry["resource"], json!({"type": "Document", "id": "d1"}));
    assert_eq!(entry["trace_id"].as_str().unwrap().len(), 32);
    assert!(entry["received_at"].as_str() >= entry["time"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_is_one_entry() {
    let echo = Echo::start().await;
    let first = full("1", "2026-01-01T00:00:00Z");
    assert!(echo.consume(&[first.clone(), first.clone()]).await.is_empty());
    // The same key with another time and payload: the first one counts.
    assert!(echo.consume(&[first, full("1", "2026-01-02T00:00:00Z")]).await.is_empty());
    let log = echo.log().await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0]["time"], "2026-01-01T00:00:00.000000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_fails_alone() {
    let echo = Echo::start().await;
    let mut bodies: Vec<String> = (0..25).map(|n| full(&n.to_string(), "2026-01-01T00:00:00Z")).collect();
    bodies[3] = "{".into();
    bodies[12] = json!({"type": "audit"}).to_string();
    bodies[24] = full("x", "2026-01-01T00:00:00Z").replace("\"success\"", "\"maybe\"");
    assert_eq!(echo.consume(&bodies).await, [3, 12, 24]);
    assert_eq!(echo.log().await.len(), 22);
    assert_eq!(echo.measured(Metric::BatchFailures), [3]);
    assert_eq!(echo.measured(Metric::AuditDelay).len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_cannot_be_overwritten() {
    let echo = Echo::start().await;
    echo.consume(&[full("1", "2026-01-01T00:00:00Z")]).await;
    let (client, table) = echo.audit.log.raw();
    let item = client.scan().table_name(table).send().await.unwrap().items.unwrap().remove(0);
    let key = |name: &str| item[name].as_s().unwrap().clone();
    let insert = format!("INSERT INTO \"{table}\" VALUE {{'pk': '{}', 'sk': '{}'}}", key("pk"), key("sk"));
    let error = client.execute_statement().statement(insert).send().await.unwrap_err().into_service_error();
    assert!(error.is_duplicate_item_exception(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_filtered_and_paged_newest_first() {
    let echo = Echo::start().await;
    let bodies: Vec<String> = (0..30).map(|n| full(&format!("{n:02}"), &format!("2026-01-01T00:00:{n:02}Z"))).collect();
    let denied = full("zz", "2026-01-01T01:00:00Z").replace("\"success\"", "\"denied\"").replace("d1", "d/2");
    assert!(echo.consume(&[bodies, vec![denied]].concat()).await.is_empty());
    let token = echo.token(|_| {});
    let get = async |query: &str| echo.get("query", &format!("/audit/v1/events?{query}"), &token).await.1;

    assert_eq!(ids(&get("limit=2").await), ["zz", "29"]);
    assert_eq!(ids(&get("outcome=denied").await), ["zz"]);
    assert_eq!(ids(&get("resource=Document/d/2").await), ["zz"]);
    assert_eq!(ids(&get("actor=nobody").await).len(), 0);
    let window = get("from=2026-01-01T00:00:03Z&to=2026-01-01T00:00:06Z").await;
    assert_eq!(ids(&window), ["05", "04", "03"]);
    assert_eq!(window["next"], Value::Null);

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&format!("outcome=success&limit=7{cursor}")).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..30).rev().map(|n| format!("{n:02}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_log_only() {
    let echo = Echo::start().await;
    echo.consume(&[full("1", "2026-01-01T00:00:00Z")]).await;
    let other = echo.token(|claims| claims["org"] = "acme".into());
    let (status, page) = echo.get("query", "/audit/v1/events?org=demo", &other).await;
    assert_eq!((status.as_u16(), ids(&page).len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_and_parameters_are_refused() {
    let echo = Echo::start().await;
    let good = echo.token(|_| {});
    let expired = echo.token(|claims| claims["exp"] = 1.into());
    let elsewhere = echo.token(|claims| claims["aud"] = "https://other.test".into());
    let powerless = echo.token(|claims| claims["scope"] = "openid".into());
    for (token, path, expected) in [
        ("", "/audit/v1/events", 401),
        ("junk", "/audit/v1/events", 401),
        (&expired, "/audit/v1/events", 401),
        (&elsewhere, "/audit/v1/events", 401),
        (&powerless, "/audit/v1/events", 403),
        (&good, "/audit/v1/events?limit=0", 400),
        (&good, "/audit/v1/events?from=x", 400),
        (&good, "/audit/v1/events?outcome=x", 400),
        (&good, "/audit/v1/events?cursor=%25", 400),
        (&good, "/audit/v1/events?cursor=fn5-", 400),
        (&good, "/audit/v1/nothing", 404),
    ] {
        let (status, problem) = echo.get("query", path, token).await;
        assert_eq!(status, expected, "{path} {problem}");
        assert!(problem["detail"].is_string(), "{problem}");
    }
    let (status, _) = echo.post("query", "/audit/v1/events", &good, &json!({})).await;
    assert_eq!(status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_refuses_what_it_must_and_stores_nothing_of_it() {
    let echo = Echo::start().await;
    let token = echo.token(|_| {});
    let mut foreign = event("1");
    foreign["org"] = "acme".into();
    let mut impostor = event("1");
    impostor["source"] = "/login".into();
    for (body, expected) in [
        (json!([event("1"), foreign]), 403),
        (impostor, 403),
        (json!([event("1"), {"id": "2"}]), 400),
        (json!("text"), 400),
        (json!([]), 400),
    ] {
        let (status, problem) = echo.post("ingest", "/events", &token, &body).await;
        assert_eq!(status, expected, "{problem}");
    }
    let request = |kind: &str, body: String| {
        let request = Request::post("/events").header("authorization", format!("Bearer {token}"));
        request.header("content-type", kind).body(Body::from(body)).unwrap()
    };
    assert_eq!(echo.send("ingest", request("text/plain", event("1").to_string())).await.0, 415);
    assert_eq!(echo.send("ingest", request("application/json", "{".into())).await.0, 400);
    assert_eq!(echo.send("ingest", request("application/json", " ".repeat(1_048_577))).await.0, 413);
    let powerless = echo.token(|claims| claims["scope"] = "audit.read".into());
    assert_eq!(echo.post("ingest", "/events", &powerless, &event("1")).await.0, 403);
    assert_eq!(echo.drain().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_made_by_policy_and_recorded() {
    let echo = Echo::start().await;
    assert_eq!(echo.publish_policies("demo").await, 1);
    assert_eq!(echo.publish_policies("demo").await, 1, "the same policies are the same version");
    let service = echo.token(|_| {});
    let (admin, member) = (echo.person("a", "admin"), echo.person("m", "member"));
    let ask = async |caller: &str, token: Option<&str>, action: &str, properties: Value| {
        let mut body =
            json!({"action": action, "resource": {"type": "Document", "id": "d1", "properties": properties}});
        if let Some(token) = token {
            body["token"] = token.into();
        }
        echo.post("authorize", "/authorize", caller, &body).await
    };
    let owned = json!({"owner": {"type": "User", "id": "m"}});
    let expired = echo.token(|claims| claims["exp"] = 1.into());
    let foreign = echo.token(|claims| claims["org"] = "acme".into());
    for (caller, token, action, properties, decision, reason) in [
        (&service, Some(&admin), "delete", json!({}), "ALLOW", "permitted"),
        (&service, Some(&member), "delete", json!({}), "DENY", "no_permit"),
        (&service, Some(&member), "write", owned.clone(), "ALLOW", "permitted"),
        (&admin, None, "delete", json!({}), "ALLOW", "permitted"),
        // Who is no trusted service cannot claim to own what it asks about.
        (&member, None, "write", owned.clone(), "DENY", "no_permit"),
        (&service, None, "read", json!({}), "DENY", "no_permit"),
        (&service, Some(&expired), "read", json!({}), "DENY", "token_expired"),
        (&service, Some(&"junk".to_owned()), "read", json!({}), "DENY", "token_invalid"),
        (&service, Some(&foreign), "read", json!({}), "DENY", "unknown_principal"),
        (&service, Some(&admin), "fly", json!({}), "DENY", "unknown_action"),
        (&service, Some(&admin), "read", json!({"title": 1}), "DENY", "request_invalid_against_schema"),
    ] {
        let (status, answer) = ask(caller, token.map(String::as_str), action, properties).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!((&answer["decision"], &answer["reason"]), (&json!(decision), &json!(reason)), "{answer}");
        echo.drain().await;
        let log = echo.log().await;
        let entry = log.iter().find(|entry| entry["id"] == answer["decision_id"]).unwrap();
        assert_eq!(entry["action"], if decision == "ALLOW" { "decision.allow" } else { "decision.deny" });
        assert_eq!((&entry["reason"], &entry["details"]["action"]), (&json!(reason), &json!(action)));
    }
    assert_eq!(echo.log().await.len(), 11);
    assert_eq!(echo.measured(Metric::DecisionsAllowed), [1; 3]);
    assert_eq!(echo.measured(Metric::DecisionsDenied), [1; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn authorize_fails_closed() {
    let echo = Echo::start().await;
    let (service, member) = (echo.token(|_| {}), echo.person("m", "member"));
    let good = json!({"action": "read", "resource": {"type": "Document", "id": "d1"}});
    let (status, answer) = echo.post("authorize", "/authorize", &service, &good).await;
    assert_eq!((status.as_u16(), &answer["reason"]), (503, &json!("policy_unavailable")), "no policies, no answer");
    assert_eq!(answer["decision"], "DENY");
    echo.publish_policies("demo").await;
    for (caller, body, expected) in [
        ("", good.clone(), 401),
        ("junk", good.clone(), 401),
        (&service, json!({}), 400),
        (&service, json!({"action": "read", "resource": "d1"}), 400),
        (&service, json!({"action": "x".repeat(70_000), "resource": {"type": "T", "id": "1"}}), 413),
        (&member, json!({"token": service, "action": "read", "resource": {"type": "Document", "id": "1"}}), 403),
    ] {
        let (status, answer) = echo.post("authorize", "/authorize", caller, &body).await;
        assert_eq!((status.as_u16(), &answer["decision"]), (expected, &json!("DENY")), "{answer}");
    }
    let text = Request::post("/authorize").header("authorization", format!("Bearer {service}"));
    let text = text.header("content-type", "text/plain").body(Body::from(good.to_string())).unwrap();
    assert_eq!(echo.send("authorize", text).await.0, 400);
    assert_eq!(echo.drain().await, 0, "none of these was a decision");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_policy_version_is_in_effect_within_two_seconds() {
    let echo = Echo::start().await;
    echo.publish_policies("demo").await;
    let admin = echo.person("a", "admin");
    let body = json!({"action": "read", "resource": {"type": "Document", "id": "d1"}});
    let ask = async || echo.post("authorize", "/authorize", &admin, &body).await.1;
    assert_eq!(ask().await["decision"], "ALLOW");
    let mut source = super::echo::demo_policies();
    source.files.push(("freeze.cedar".into(), "@id(\"freeze\") forbid (principal, action, resource);".into()));
    assert_eq!(echo.policies.publish("demo", &source).await.unwrap(), 2);
    echo.pass(2);
    let answer = ask().await;
    assert_eq!((&answer["decision"], &answer["reason"]), (&json!("DENY"), &json!("explicit_forbid")));
    assert_eq!((&answer["policies"], &answer["policy_version"]), (&json!(["freeze"]), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_publishes_what_was_left_and_leaves_the_fresh_alone() {
    let echo = Echo::start().await;
    let clock = &echo.relay.clock;
    let trace = echo_shared::telemetry::TraceContext::continue_from(None, None, &Entropy::system());
    let data = event("x")["data"].clone();
    let events: Vec<Envelope> = (0..250)
        .map(|_| Envelope::new(clock, &Entropy::system(), &trace, ("/login", "demo", "audit"), data.clone()))
        .collect();
    let (client, _) = echo.audit.log.raw();
    let table = echo_shared::table::Table::new(client.clone(), "echo-outbox");
    for some in events.chunks(50) {
        table.transact(echo.outbox.writes(some).unwrap()).await.unwrap();
    }
    relay::handle(&echo.relay).await.unwrap();
    assert_eq!(echo.drain().await, 0, "its writer has ten seconds to publish it");
    echo.pass(11);
    relay::handle(&echo.relay).await.unwrap();
    relay::handle(&echo.relay).await.unwrap();
    assert_eq!(echo.drain().await, 250);
    assert_eq!(table.scan_page::<Value>(None).await.unwrap().items.len(), 0);
    assert_eq!(echo.measured(Metric::OutboxAge), [11; 3], "one for each page; an empty outbox has no age");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_on_into_the_log() {
    let echo = Echo::start().await;
    echo.publish_policies("demo").await;
    let trace = |digit: &str| digit.repeat(32);
    let request = |path: &str, digit: &str, kind: &str, body: String| {
        let request = Request::post(path).header("traceparent", format!("00-{}-00f067aa0ba902b7-01", trace(digit)));
        let request = request.header("authorization", format!("Bearer {}", echo.token(|_| {})));
        request.header("content-type", kind).body(Body::from(body)).unwrap()
    };
    let read = json!({"action": "read", "resource": {"type": "Document", "id": "d1"}}).to_string();
    let form = "grant_type=client_credentials&client_id=demo-service&client_secret=wrong".to_owned();
    let no_credentials = |mut request: Request<Body>| {
        request.headers_mut().remove("authorization");
        request
    };
    let json = "application/json";
    echo.send("ingest", request("/events", "a", json, event("1").to_string())).await;
    echo.send("authorize", request("/authorize", "b", json, read)).await;
    let form = request("/oauth2/token", "c", "application/x-www-form-urlencoded", form);
    echo.send("login", no_credentials(form)).await;
    assert_eq!(echo.drain().await, 3);
    let log = echo.log().await;
    let traces = |action: &str| {
        let entry = log.iter().find(|entry| entry["action"] == action).unwrap_or_else(|| panic!("{log:#?}"));
        entry["trace_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(["document.read", "decision.deny", "token.refused"].map(traces), ["a", "b", "c"].map(trace));
}
