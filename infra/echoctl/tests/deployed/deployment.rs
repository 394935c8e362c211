//! One deployment, from the empty account to an upgrade.

use std::path::Path;

use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::secret::Secret;
use echo_shared::table::Table;
use login::admin::{NewClient, NewUser, put_client, put_user};
use serde_json::Value;

use super::cloud::{Cloud, STACK, root};
use super::echo::{Echo, count};
use super::{person, story};

#[tokio::test(flavor = "multi_thread")]
async fn what_sam_deploys_is_echo() {
    let cloud = Cloud::start().await;
    cloud.deploy().await;
    assert_eq!(cloud.ask("excuse").await, 7, "the roles that send or insert");
    let secret = bootstrap(&cloud).await;
    let echo_at = |url: &str| Echo::new(url, ("demo-service", &secret));
    let echo = echo_at(&cloud.url);
    seed_the_rest(&cloud).await;

    story::sign_in_and_ask(&echo).await;
    reported_events_are_in_the_log_once(&echo).await;
    hostile_requests_stop_at_the_api(&echo).await;
    relay_delivers_what_bootstrap_left(&echo).await;
    nobody_overwrites_the_log(&cloud).await;
    the_operator_sees_the_queues(&cloud).await;

    // An upgrade publishes new versions and keeps keys and data: a token from before is good after it.
    let (token, keys, version) = (echo.service_token().await, keys(&echo).await, cloud.ask("live-version").await);
    let memory = ("MemorySize: 1769", "MemorySize: 2048");
    cloud.upgrade(&cloud.url, &[memory]).await;
    assert!(cloud.ask("live-version").await.as_i64() > version.as_i64());
    assert_eq!(self::keys(&echo).await, keys);
    assert!(!echo.audit_log(&token).await.is_empty());
    person::sign_in(&echo, "bob@demo.test").await;

    // A parameter that changes reaches every function behind the alias when the release is another.
    cloud.upgrade(&cloud.other_url, &[memory, ("ECHO_RELEASE: '1'", "ECHO_RELEASE: '2'")]).await;
    everybody_knows_the_issuer(&echo_at(&cloud.other_url)).await;
}

/// Login and Token issue for it, Authorize, Ingest and Query accept what was issued for it.
async fn everybody_knows_the_issuer(echo: &Echo) {
    let alice = person::sign_in(echo, "alice@demo.test").await;
    let service = echo.service_token().await;
    assert_eq!(echo.authorize(&service, &alice.access_token, "delete").await["decision"], "ALLOW");
    let id = ["under-another-issuer".to_owned()];
    assert_eq!(echo.report(&service, &id).await.status(), 202);
    echo.audit_log_when(&alice.access_token, |log| count(log, "/id", &id[0]) == 1).await;
}

/// `echoctl queue` shows the deployed queues, and sends back what lies in the dead-letter queue.
async fn the_operator_sees_the_queues(cloud: &Cloud) {
    let queue = async |arguments: &[&str]| -> Value {
        let mut command = cloud.command(env!("CARGO_BIN_EXE_echoctl"));
        let output = command.arg("queue").args(arguments).args(["--stack", STACK, "--json"]).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let stats = queue(&["stats"]).await;
    let names: Vec<_> = stats["queues"].as_array().unwrap().iter().map(|queue| &queue["queue"]).collect();
    assert_eq!(names, ["echo-audit", "echo-audit-dead-letter", "echo-log", "echo-log-dead-letter"]);
    for (name, place) in [("audit", 0), ("log", 2)] {
        let (queued, dead) = (&stats["queues"][place], &stats["queues"][place + 1]);
        assert_eq!((&queued["failed"], &dead["failed"]), (&0.into(), &Value::Null));
        assert_eq!(queue(&["peek", &format!("{name}-dead-letter")]).await, Value::Null);
        assert_eq!(queue(&["redrive", name]).await["moved"], 0);
    }
}

async fn keys(echo: &Echo) -> Value {
    echo.http.get(format!("{}/oauth2/jwks", echo.url)).send().await.unwrap().json().await.unwrap()
}

/// Makes the first organisation; returns its client's secret.
async fn bootstrap(cloud: &Cloud) -> String {
    let args = ["bootstrap", "--stack", STACK, "--org", "demo", "--admin", "alice@demo.test"];
    let run = async |password: &str, client: &str| {
        let mut command = cloud.command(env!("CARGO_BIN_EXE_echoctl"));
        command.args(args).args(["--client-id", client, "--json", "--password-stdin"]);
        let file = std::env::temp_dir().join(format!("password-{}", std::process::id()));
        std::fs::write(&file, password).unwrap();
        let output = command.stdin(std::fs::File::open(&file).unwrap()).output().await.unwrap();
        std::fs::remove_file(file).unwrap();
        output
    };
    let done = run(person::PASSWORD, "demo-service").await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let made: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(made["admin"]["password"], Value::Null, "a password that was given is not printed");

    let again = run("another-password", "another-client").await;
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("bootstrapped at") && said.contains("arn:"), "{said}");
    made["client"]["client_secret"].as_str().unwrap().to_owned()
}

/// A member, an application and policies, as their owners will make them.
async fn seed_the_rest(cloud: &Cloud) {
    let dynamodb = cloud.dynamodb();
    let table = |name: &str| Table::new(dynamodb.clone(), format!("{STACK}-{name}"));
    let store = login::Store::new(table("login"), Clock::system(), Entropy::system());
    let bob = NewUser {
        id: "bob".into(),
        email: "bob@demo.test".into(),
        name: "Bob".into(),
        password: Secret::new(person::PASSWORD),
        org: "demo".into(),
        roles: vec!["member".into()],
    };
    put_user(&store, bob).await.unwrap();
    let spa = NewClient {
        id: "demo-spa".into(),
        name: "Demo".into(),
        org: "demo".into(),
        secret: None,
        redirect_uris: [&cloud.url, &cloud.other_url].map(|url| format!("{url}/console/callback")).into(),
        post_logout_redirect_uris: Vec::new(),
        grants: vec!["authorization_code".into()],
        scopes: ["openid", "email", "audit.read"].map(Into::into).into(),
        resources: Vec::new(),
    };
    put_client(&store, spa).await.unwrap();
    let folder = root().join("infra/policies/demo");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let mut files = Vec::new();
    for name in ["admins.cedar", "members.cedar", "owners.cedar"] {
        files.push((name.to_owned(), read(&folder.join(name))));
    }
    let source = authorize::Source { schema: read(&folder.join("schema.cedarschema")), files };
    authorize::PolicyStore::new(table("policy"), Clock::system()).publish("demo", &source).await.unwrap();
}

async fn reported_events_are_in_the_log_once(echo: &Echo) {
    let service = echo.service_token().await;
    let ids: Vec<String> = (0..40).map(|n| format!("deployed-{n}")).collect();
    for _ in 0..2 {
        assert_eq!(echo.report(&service, &ids).await.status(), 202);
    }
    let log = echo.audit_log_when(&service, |log| ids.iter().all(|id| count(log, "/id", id) > 0)).await;
    assert!(ids.iter().all(|id| count(&log, "/id", id) == 1), "{log:#?}");
}

async fn hostile_requests_stop_at_the_api(echo: &Echo) {
    for request in [echo.http.get(format!("{}/nothing", echo.url)), echo.http.delete(format!("{}/authorize", echo.url))]
    {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 404, "{}", response.url());
    }
}

/// The schedule runs, and what it runs has the rights it needs.
async fn relay_delivers_what_bootstrap_left(echo: &Echo) {
    let service = echo.service_token().await;
    let log = echo.audit_log_when(&service, |log| count(log, "/action", "stack.bootstrapped") > 0).await;
    let entry = log.iter().find(|entry| entry["action"] == "stack.bootstrapped").unwrap();
    assert_eq!(entry["actor"]["type"], "AwsPrincipal");
}

async fn nobody_overwrites_the_log(cloud: &Cloud) {
    let found = cloud.ask("insert-only").await;
    for attempt in ["PutItem", "UpdateItem", "DeleteItem", "GetItem", "Delete"] {
        assert_eq!(found[attempt], "AccessDeniedException", "{attempt}");
    }
    assert_eq!(found["Insert"], "TransactionCanceledException", "an insert does not overwrite");
}
