//! What every Echo must do, wherever it runs: two people sign in, one of them mistypes first and signs out at last, a
//! service asks for them, all of it is in the log.

use reqwest::StatusCode;
use serde_json::Value;

use super::echo::{Echo, count};
use super::person;

pub async fn sign_in_and_ask(echo: &Echo) {
    let alice = person::sign_in(echo, "alice@demo.test").await;
    assert_eq!(person::mistype(echo, "bob@demo.test").await, StatusCode::UNAUTHORIZED);
    let bob = person::sign_in(echo, "bob@demo.test").await;
    assert_eq!((alice.email.as_str(), bob.email.as_str()), ("alice@demo.test", "bob@demo.test"));
    let service = echo.service_token().await;
    let allowed = echo.authorize(&service, &alice.access_token, "delete").await;
    assert_eq!((&allowed["decision"], &allowed["reason"]), (&"ALLOW".into(), &"permitted".into()), "{allowed}");
    let denied = echo.authorize(&service, &bob.access_token, "delete").await;
    assert_eq!((&denied["decision"], &denied["reason"]), (&"DENY".into(), &"no_permit".into()), "{denied}");

    let bobs = echo.http.get(format!("{}/audit/v1/events", echo.url)).bearer_auth(&bob.access_token);
    assert_eq!(bobs.send().await.unwrap().status(), 403, "a member may not read the log");
    assert_eq!((bob.userinfo().await, bob.sign_out().await), (StatusCode::OK, StatusCode::OK));
    assert_eq!(bob.userinfo().await, StatusCode::UNAUTHORIZED, "his session has ended");

    // Two people and one service got tokens; alice, an admin, may read the log herself.
    let complete = |log: &[Value]| {
        count(log, "/action", "login.succeeded") == 2
            && count(log, "/action", "token.issued") == 3
            && count(log, "/action", "login.failed") == 1
            && count(log, "/action", "logout") == 1
            && count(log, "/action", "decision.allow") == 1
            && count(log, "/action", "decision.deny") == 1
    };
    let log = echo.audit_log_when(&alice.access_token, complete).await;
    let made = |entry: &&Value| entry["source"] != "/echoctl" && entry["source"] != "/query";
    let own = log.iter().filter(made).count();
    assert_eq!(own, 9, "{log:#?}");
    for (decision, who) in [(&allowed, &alice), (&denied, &bob)] {
        let entry = log.iter().find(|entry| entry["id"] == decision["decision_id"]).unwrap();
        assert_eq!(entry["actor"]["id"], who.subject.as_str());
        assert_eq!(entry["org"], "demo");
    }
}
