//! All functions in one process, over a real MariaDB, the SQS endpoint and the DynamoDB endpoint, through the real SDKs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use axum::Router;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_local::dynamodb::DynamoDb;
use echo_local::queue::Queues;
use echo_local::template::{self, Context};
use echo_shared::aws::Aws;
use echo_shared::clock::Clock;
use echo_shared::config::Issuer;
use echo_shared::entropy::Entropy;
use echo_shared::event::Queue;
use echo_shared::log::settings::Settings;
use echo_shared::metric::{Metric, Metrics};
use echo_shared::queue::{Outbox, Publisher};
use echo_shared::secret::Secret;
use echo_shared::table::Table;
use echo_shared::token::{KeySource, KeysUnavailable, SigningKey, Verifier};
use http::{Request, StatusCode};
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::support;

pub const ISSUER: &str = "https://echo.test";

/// The issuer's keys without an issuer.
#[derive(Clone)]
pub struct Keys(Arc<SigningKey>);

impl KeySource for Keys {
    async fn key(&self, kid: &str) -> Result<Option<Arc<DecodingKey>>, KeysUnavailable> {
        Ok((kid == self.0.kid()).then(|| Arc::new(self.0.decoding_key().unwrap())))
    }
}

/// A stack without processes.
pub struct Echo {
    dynamodb: DynamoDb,
    queue_endpoint: String,
    pub queues: Queues,
    /// The first of any number of consumers.
    pub audit: audit_consume::App,
    /// The same for log lines.
    pub logs: log_consume::App,
    settings: Settings,
    measure: Metrics,
    clock: Clock,
    pub relay: relay::App,
    pub outbox: Outbox,
    pub policies: authorize::PolicyStore,
    measured: Arc<Mutex<Vec<Value>>>,
    seconds: Arc<AtomicI64>,
    key: Arc<SigningKey>,
    routers: BTreeMap<&'static str, Router>,
}

impl Echo {
    pub async fn start() -> Self {
        Self::build(None, Settings::default()).await
    }

    /// With what the orgs want of the log store, in the form of `LOG_SETTINGS`.
    pub async fn with_settings(settings: &Value) -> Self {
        Self::build(None, Settings::parse(&settings.to_string()).unwrap()).await
    }

    /// The functions reach tables and queues by these clients, when some are given; the tests always reach them.
    pub async fn behind(clients: Option<Aws>) -> Self {
        Self::build(clients, Settings::default()).await
    }

    async fn build(clients: Option<Aws>, settings: Settings) -> Self {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml");
        let context = Context {
            stack_name: "echo".into(),
            parameters: BTreeMap::from([("Issuer".into(), ISSUER.into()), ("MasterKey.Value".into(), "k".into())]),
            queue_base_url: String::new(),
        };
        let stack = template::read(root.as_ref(), &context).unwrap();
        let (queues, sqs, base_url) = support::sqs(stack.queues.clone()).await;
        let dynamodb = DynamoDb::start(None).await.unwrap();
        dynamodb.create_tables(&stack.tables).await.unwrap();
        let (tables, sqs) = match clients {
            Some(aws) => (aws.dynamodb(), aws.sqs()),
            None => (dynamodb.client(), sqs),
        };

        let seconds = Arc::new(AtomicI64::new(0));
        let moved = Arc::clone(&seconds);
        let clock = Clock::from_fn(move || Clock::system().now() + time::Duration::seconds(moved.load(SeqCst)));
        let entropy = Entropy::system();
        let measured = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&measured);
        let write = move |line: &str| lines.lock().unwrap().push(serde_json::from_str(line).unwrap());
        let metrics = Metrics::to("echo", clock.clone(), write);
        let issuer = Issuer::parse(ISSUER).unwrap();
        let key = Arc::new(SigningKey::from_pkcs8("k", &SigningKey::generate().unwrap()).unwrap());
        let verifier = || Verifier::new(issuer.clone(), Keys(Arc::clone(&key)), clock.clone());
        let table = |name: &str| Table::new(tables.clone(), format!("echo-{name}"));
        let own_table = |name: &str| Table::new(dynamodb.client(), format!("echo-{name}"));
        let audit_url = format!("{base_url}/echo-audit");
        let urls = [(Queue::Audit, audit_url.clone()), (Queue::Log, format!("{base_url}/echo-log"))];
        let publisher = Publisher::new(sqs.clone(), BTreeMap::from(urls));
        let outbox = Outbox::new(table("outbox"), publisher.clone(), clock.clone());

        let ingest = ingest::App {
            issuer: issuer.clone(),
            verifier: verifier(),
            publisher: publisher.clone(),
            settings: settings.clone(),
            redactor: ingest::Redactor::new(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let query = query::App {
            issuer: issuer.clone(),
            verifier: verifier(),
            log: table("audit_log"),
            heads: table("audit_head"),
            log_store: table("log_store"),
            settings: settings.clone(),
            publisher: publisher.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let authorize = authorize::App {
            issuer: issuer.clone(),
            verifier: verifier(),
            policies: authorize::PolicyStore::new(table("policy"), clock.clone()),
            publisher: publisher.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let config = login::Config {
            issuer: issuer.clone(),
            master_key: master_key(),
            login_table: "echo-login".into(),
            outbox_table: "echo-outbox".into(),
            queue_urls: BTreeMap::from([(Queue::Audit, audit_url)]),
            stack: "echo".into(),
        };
        let login = login::App::new(config, (tables.clone(), sqs), clock.clone(), entropy.clone());
        let people = login::Store::new(own_table("login"), clock.clone(), entropy.clone());
        login::admin::put_client(&people, demo_service()).await.unwrap();
        Self {
            routers: BTreeMap::from([
                ("login", login::router(Arc::new(login))),
                ("ingest", ingest::router(Arc::new(ingest))),
                ("query", query::router(Arc::new(query))),
                ("authorize", authorize::router(Arc::new(authorize))),
            ]),
            audit: consumer(tables.clone(), 1, clock.clone(), metrics.clone()),
            logs: log_consumer(tables.clone(), settings.clone(), clock.clone(), metrics.clone()),
            settings,
            measure: metrics.clone(),
            clock: clock.clone(),
            relay: relay::App { outbox: outbox.clone(), clock: clock.clone(), metrics: metrics.clone() },
            policies: authorize::PolicyStore::new(own_table("policy"), clock.clone()),
            measured,
            queue_endpoint: base_url.trim_end_matches("/000000000000").to_owned(),
            dynamodb,
            queues,
            outbox,
            seconds,
            key,
        }
    }

    /// The values that authorize, audit-consume, log-consume and relay have measured.
    pub fn measured(&self, metric: Metric) -> Vec<u64> {
        let lines = self.measured.lock().unwrap();
        let values = lines.iter().filter_map(|line| line.get(metric.name())).flat_map(|value| match value {
            Value::Array(many) => many.clone(),
            one => vec![one.clone()],
        });
        values.map(|value| value.as_u64().unwrap()).collect()
    }

    /// Where the tables are.
    pub fn table_endpoint(&self) -> &str {
        self.dynamodb.endpoint()
    }

    /// Where the queues are.
    pub fn queue_endpoint(&self) -> &str {
        &self.queue_endpoint
    }

    /// What the functions' clock shows.
    pub fn now(&self) -> time::OffsetDateTime {
        self.clock.now()
    }

    /// A client of the tables.
    pub fn tables(&self) -> aws_sdk_dynamodb::Client {
        self.dynamodb.client()
    }

    /// Serves a function's routes over HTTP; the URL. For callers that are other programs.
    pub async fn listen(&self, function: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = self.routers[function].clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// Moves the functions' clock.
    pub fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, SeqCst);
    }

    /// Publishes the demo policies for an org.
    pub async fn publish_policies(&self, org: &str) -> u64 {
        self.policies.publish(org, &demo_policies()).await.unwrap()
    }

    /// A token; `change` bends its claims.
    pub fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = Clock::system().unix() + self.seconds.load(SeqCst);
        let mut claims = json!({
            "iss": ISSUER, "sub": "demo-service", "client_id": "demo-service", "aud": ISSUER, "org": "demo",
            "scope": "events.write audit.read authorize logs.write logs.read", "iat": now, "exp": now + 300, "jti": "j",
        });
        change(&mut claims);
        self.key.sign("at+jwt", &claims).unwrap()
    }

    /// A member's or admin's token, without scopes.
    pub fn person(&self, sub: &str, role: &str) -> String {
        self.token(|claims| {
            claims["sub"] = sub.into();
            claims["client_id"] = "demo-spa".into();
            claims["roles"] = json!([role]);
            claims["scope"] = "openid".into();
        })
    }

    /// Sends a request to a function.
    pub async fn route(&self, function: &str, request: Request<Body>) -> axum::response::Response {
        self.routers[function].clone().oneshot(request).await.unwrap()
    }

    /// Sends a request to a function; status, headers and JSON body.
    pub async fn send(&self, function: &str, request: Request<Body>) -> (StatusCode, http::HeaderMap, Value) {
        let (parts, body) = self.route(function, request).await.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub async fn post(&self, function: &str, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let (status, _, body) = self.send(function, request).await;
        (status, body)
    }

    pub async fn get(&self, function: &str, path: &str, token: &str) -> (StatusCode, Value) {
        let request =
            Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
        let (status, _, body) = self.send(function, request).await;
        (status, body)
    }

    /// One more consumer: a cold instance that signs with the key of this number and reaches the tables by `client`.
    pub fn consumer(&self, key_number: u64, client: Option<aws_sdk_dynamodb::Client>) -> audit_consume::App {
        let client = client.unwrap_or_else(|| self.dynamodb.client());
        consumer(client, key_number, self.clock.clone(), self.measure.clone())
    }

    /// One more consumer of log lines: a cold instance that reaches the table by `client`.
    pub fn log_consumer(&self, client: Option<aws_sdk_dynamodb::Client>) -> log_consume::App {
        let client = client.unwrap_or_else(|| self.dynamodb.client());
        log_consumer(client, self.settings.clone(), self.clock.clone(), self.measure.clone())
    }

    /// Hands bodies to audit-consume as one batch; the indices of those that failed.
    pub async fn consume(&self, bodies: &[String]) -> Vec<usize> {
        consume(&self.audit, bodies).await
    }

    /// Empties the queue `audit` into audit-consume; how many events it held, without those of reads.
    pub async fn drain(&self) -> usize {
        let mut drained = 0;
        while let bodies = support::take(&self.queues, "echo-audit").await
            && !bodies.is_empty()
        {
            assert_eq!(self.consume(&bodies).await, [0usize; 0]);
            drained += bodies.iter().filter(|body| !body.contains(READS)).count();
        }
        drained
    }

    /// The newest entries of the audit log, without those of reads.
    pub async fn log(&self) -> Vec<Value> {
        let (status, page) = self.get("query", "/audit/v1/events?limit=100", &self.token(|_| {})).await;
        assert_eq!(status, 200, "{page}");
        page["items"].as_array().unwrap().iter().filter(|entry| entry["source"] != "/query").cloned().collect()
    }
}

/// What the events of reads hold, and no others.
const READS: &str = "\"source\":\"/query\"";

fn master_key() -> login::MasterKey {
    login::MasterKey::parse(&Secret::new(STANDARD.encode([7; 32]))).unwrap()
}

fn consumer(client: aws_sdk_dynamodb::Client, key_number: u64, clock: Clock, metrics: Metrics) -> audit_consume::App {
    let config = audit_consume::Config {
        issuer: Issuer::parse(ISSUER).unwrap(),
        master_key: master_key(),
        key_number,
        log_table: "echo-audit_log".into(),
        head_table: "echo-audit_head".into(),
        bucket: "b".into(),
        stack: "echo".into(),
    };
    audit_consume::App { metrics, ..audit_consume::App::new(config, client, clock, Entropy::system()) }
}

fn log_consumer(
    client: aws_sdk_dynamodb::Client,
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
) -> log_consume::App {
    let config = log_consume::Config { table: "echo-log_store".into(), settings, stack: "echo".into() };
    let mut app = log_consume::App::new(config, client, clock);
    app.metrics = metrics;
    app
}

/// Hands bodies to a consumer as one batch; the indices of those that failed.
pub async fn consume(consumer: &audit_consume::App, bodies: &[String]) -> Vec<usize> {
    failed(audit_consume::handle(consumer, batch(bodies)).await.unwrap())
}

/// The same for a consumer of log lines.
pub async fn consume_logs(consumer: &log_consume::App, bodies: &[String]) -> Vec<usize> {
    failed(log_consume::handle(consumer, batch(bodies)).await.unwrap())
}

/// Bodies as one batch, whose message ids are their indices.
fn batch(bodies: &[String]) -> SqsEvent {
    let records: Vec<Value> =
        bodies.iter().enumerate().map(|(n, body)| json!({"messageId": n.to_string(), "body": body})).collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

fn failed(response: SqsBatchResponse) -> Vec<usize> {
    response.batch_item_failures.iter().map(|failure| failure.item_identifier.parse().unwrap()).collect()
}

pub fn demo_policies() -> authorize::Source {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/demo/");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}{name}")).unwrap();
    let files = ["admins.cedar", "members.cedar", "owners.cedar"];
    authorize::Source {
        schema: read("schema.cedarschema"),
        files: files.map(|name| (name.to_owned(), read(name))).into(),
    }
}

fn demo_service() -> login::admin::NewClient {
    login::admin::NewClient {
        id: "demo-service".into(),
        name: "Demo".into(),
        org: "demo".into(),
        secret: Some(Secret::new("demo-service-secret-for-local-use-only")),
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: vec!["client_credentials".into()],
        scopes: vec!["authorize".into()],
        resources: Vec::new(),
    }
}
