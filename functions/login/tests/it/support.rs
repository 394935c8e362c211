//! One Echo login in memory: tables, a queue, a clock that tests move, and a browser.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::clock::Clock;
use echo_shared::config::Env;
use echo_shared::entropy::Entropy;
use echo_shared::event::Envelope;
use echo_shared::event::audit::Record;
use echo_shared::metric::{Metric, Metrics};
use echo_shared::secret::Secret;
use echo_shared::table::Table;
use echo_shared::token::pkce_challenge;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use login::admin::{NewClient, NewUser, put_client, put_user};
use login::{App, Config, Store};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tower::ServiceExt;
use url::{Url, form_urlencoded};

pub const ISSUER: &str = "http://localhost:9000";
pub const ALICE: &str = "alice@demo.test";
pub const BOB: &str = "bob@demo.test";
pub const PASSWORD: &str = "correct-horse-battery-staple";
pub const SERVICE_SECRET: &str = "service-secret-service-secret-service-secret";
pub const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier-0";
pub const REDIRECT: &str = "https://app.test/cb";
pub const BYE: &str = "https://app.test/bye";
pub const START: i64 = 1_767_225_600;

#[derive(Default)]
pub struct Queue {
    pub down: AtomicBool,
    bodies: Mutex<Vec<String>>,
}

pub struct World {
    pub router: Router,
    pub queue: Arc<Queue>,
    pub store: Store,
    seconds: Arc<AtomicI64>,
    measured: Arc<Mutex<Vec<Value>>>,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

pub async fn world() -> World {
    world_at(ISSUER).await
}

pub async fn world_at(issuer: &str) -> World {
    let dynamodb = dynamodb().await;
    let (queue, sqs) = sqs().await;
    let seconds = Arc::new(AtomicI64::new(START));
    let store = Store::new(Table::new(dynamodb.clone(), "login"), clock(&seconds), Entropy::system());
    let measured = Arc::default();
    let router = app(issuer, "A", (dynamodb.clone(), sqs.clone()), (&seconds, &measured));
    let world = World { router, queue, store, seconds, measured, dynamodb, sqs };
    world.seed().await;
    world
}

fn clock(seconds: &Arc<AtomicI64>) -> Clock {
    let seconds = Arc::clone(seconds);
    Clock::from_fn(move || OffsetDateTime::from_unix_timestamp(seconds.load(SeqCst)).unwrap())
}

fn app(
    issuer: &str,
    master: &str,
    clients: (aws_sdk_dynamodb::Client, aws_sdk_sqs::Client),
    (seconds, measured): (&Arc<AtomicI64>, &Arc<Mutex<Vec<Value>>>),
) -> Router {
    let get = |key: &str| {
        let value = match key {
            "ECHO_ISSUER" => issuer.to_owned(),
            "ECHO_MASTER_KEY" => STANDARD.encode(master.repeat(32)),
            "LOGIN_TABLE" => "login".into(),
            "OUTBOX_TABLE" => "outbox".into(),
            "AUDIT_QUEUE_URL" => "http://queue.test/audit".into(),
            "ECHO_STACK" => "echo".into(),
            _ => return None,
        };
        Some(value)
    };
    let config = Config::from_env(Env::from_fn(get)).unwrap();
    let lines = Arc::clone(measured);
    let write = move |line: &str| lines.lock().unwrap().push(serde_json::from_str(line).unwrap());
    let metrics = Metrics::to("echo", clock(seconds), write);
    login::router(Arc::new(App::new(config, clients, clock(seconds), Entropy::system()).measured_by(metrics)))
}

async fn dynamodb() -> aws_sdk_dynamodb::Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(url)
        .build();
    let client = aws_sdk_dynamodb::Client::from_conf(config);
    create_table(&client, "login", &["pk", "sk"]).await;
    create_table(&client, "outbox", &["id"]).await;
    client
}

async fn create_table(client: &aws_sdk_dynamodb::Client, name: &str, keys: &[&str]) {
    let mut request = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
        let attribute = AttributeDefinition::builder().attribute_name(*key).attribute_type(ScalarAttributeType::S);
        request = request.attribute_definitions(attribute.build().unwrap());
        request = request.key_schema(KeySchemaElement::builder().attribute_name(*key).key_type(kind).build().unwrap());
    }
    request.send().await.unwrap();
}

async fn sqs() -> (Arc<Queue>, aws_sdk_sqs::Client) {
    let queue = Arc::new(Queue::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(accept)).with_state(Arc::clone(&queue));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    (queue, aws_sdk_sqs::Client::from_conf(config))
}

async fn accept(State(queue): State<Arc<Queue>>, body: String) -> Response {
    if queue.down.load(SeqCst) {
        let error = json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "down"});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut done = Vec::new();
    for entry in body["Entries"].as_array().unwrap() {
        queue.bodies.lock().unwrap().push(entry["MessageBody"].as_str().unwrap().to_owned());
        done.push(json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "-"}));
    }
    Json(json!({"Successful": done, "Failed": []})).into_response()
}

impl Queue {
    pub fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }

    /// Every event so far: its org and its record.
    pub fn events(&self) -> Vec<(String, Record)> {
        let parse = |body: &String| {
            let envelope = Envelope::parse(body).unwrap();
            assert_eq!((envelope.source.as_str(), envelope.event_type.as_str()), ("/login", "audit"));
            (envelope.org, Record::parse(&envelope.data).unwrap())
        };
        self.bodies().iter().map(parse).collect()
    }

    pub fn last(&self) -> (String, Record) {
        self.events().pop().expect("there is an event")
    }
}

impl World {
    pub fn outbox_table(&self) -> Table {
        Table::new(self.dynamodb.clone(), "outbox")
    }

    pub fn wait(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, SeqCst);
    }

    /// How often it was counted.
    pub fn counted(&self, metric: Metric) -> usize {
        self.measured.lock().unwrap().iter().filter(|line| line[metric.name()] == 1).count()
    }

    /// Another instance over the same tables.
    pub fn second(&self, master: &str) -> Router {
        app(ISSUER, master, (self.dynamodb.clone(), self.sqs.clone()), (&self.seconds, &self.measured))
    }

    pub async fn items(&self, table: &str) -> Vec<HashMap<String, AttributeValue>> {
        self.dynamodb.scan().table_name(table).send().await.unwrap().items.unwrap_or_default()
    }

    pub async fn count(&self, kind: &str) -> usize {
        let items = self.items("login").await;
        items.iter().filter(|item| item["sk"] == AttributeValue::S(kind.into())).count()
    }

    pub async fn set_password_hash(&self, user: &str, hash: &str) {
        let request = self.dynamodb.update_item().table_name("login").key("pk", text(&format!("USER#{user}")));
        let request = request.key("sk", text("USER")).update_expression("SET password_hash = :hash");
        request.expression_attribute_values(":hash", text(hash)).send().await.unwrap();
    }

    pub async fn password_hash(&self, user: &str) -> String {
        let pk = text(&format!("USER#{user}"));
        let item = self.items("login").await.into_iter().find(|item| item["pk"] == pk).unwrap();
        item["password_hash"].as_s().unwrap().clone()
    }

    async fn seed(&self) {
        for (id, email, name, role) in [("u-alice", ALICE, "Alice", "admin"), ("u-bob", BOB, "Bob <b>", "member")] {
            let new = NewUser {
                id: id.into(),
                email: email.into(),
                name: name.into(),
                password: Secret::new(PASSWORD),
                org: "demo".into(),
                roles: vec![role.into()],
            };
            assert!(put_user(&self.store, new).await.unwrap());
        }
        let redirects = [REDIRECT, "http://127.0.0.1:8976/callback"];
        let people = ["openid", "profile", "email", "audit.read", "admin"];
        let service = ["authorize", "events.write", "audit.read", "admin"];
        for client in [
            client("app", None, &redirects, "authorization_code", &people),
            client("web", Some("web-secret-web-secret-web-secret-web"), &redirects, "authorization_code", &people),
            client("service", Some(SERVICE_SECRET), &[], "client_credentials", &service),
        ] {
            assert!(put_client(&self.store, client).await.unwrap());
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1_000_000).await.unwrap();
        assert!(parts.headers.contains_key("x-request-id"));
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser { world: self, cookies: BTreeMap::new() }
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.send(form_request("/oauth2/token", form)).await
    }

    pub async fn token_as(&self, basic: (&str, &str), form: &[(&str, &str)]) -> Answer {
        let mut request = form_request("/oauth2/token", form);
        let credentials = STANDARD.encode(format!("{}:{}", basic.0, basic.1));
        request.headers_mut().insert(AUTHORIZATION, format!("Basic {credentials}").parse().unwrap());
        self.send(request).await
    }

    pub async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let standard = [
            ("grant_type", "authorization_code"),
            ("client_id", "app"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        self.token(&changed(&standard, changes)).await
    }

    pub async fn userinfo(&self, token: &str) -> Answer {
        let request = Request::get("/oauth2/userinfo").header(AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Signs a person in and returns the browser and the token response.
    pub async fn signed_in(&self, email: &str) -> (Browser<'_>, Value) {
        let mut browser = self.browser();
        let code = browser.code(email, &[]).await;
        let answer = self.redeem(&code, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        (browser, answer.json())
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub fn client(id: &str, secret: Option<&str>, redirects: &[&str], grant: &str, scopes: &[&str]) -> NewClient {
    NewClient {
        id: id.into(),
        name: format!("The {id} <client>"),
        org: "demo".into(),
        secret: secret.map(Secret::new),
        redirect_uris: redirects.iter().map(|uri| (*uri).into()).collect(),
        post_logout_redirect_uris: vec![BYE.into()],
        grants: vec![grant.into()],
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        resources: vec!["https://api.test".into()],
    }
}

/// `standard` with some values replaced, added, or (when empty) left out.
pub fn changed<'a>(standard: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<_> =
        standard.iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name)).copied().collect();
    all.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    all
}

pub fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

pub fn authorize_path(changes: &[(&str, &str)]) -> String {
    let challenge = pkce_challenge(VERIFIER);
    let standard = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", REDIRECT),
        ("scope", "openid profile email audit.read admin unknown"),
        ("state", "st&te"),
        ("nonce", "n0nce"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    format!("/oauth2/authorize?{}", encode(&changed(&standard, changes)))
}

pub fn form_request(path: &str, form: &[(&str, &str)]) -> Request<Body> {
    let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.body(Body::from(encode(form))).unwrap()
}

/// Keeps cookies; sends what browsers send.
pub struct Browser<'a> {
    pub world: &'a World,
    pub cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    pub async fn send(&mut self, mut request: Request<Body>) -> Answer {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !pairs.is_empty() {
            request.headers_mut().insert(COOKIE, pairs.join("; ").parse().unwrap());
        }
        let answer = self.world.send(request).await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        answer
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let mut request = form_request(path, form);
        assert_eq!(request.method(), Method::POST);
        request.headers_mut().insert(ORIGIN, ISSUER.parse().unwrap());
        request.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
        self.send(request).await
    }

    /// Fills in the form that `path` shows.
    pub async fn sign_in(&mut self, path: &str, email: &str, password: &str) -> Answer {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let (csrf, return_to) = (page.hidden("csrf"), page.hidden("return_to"));
        let form = [("csrf", &*csrf), ("return_to", &return_to), ("email", email), ("password", password)];
        self.post("/login", &form).await
    }

    /// An authorization code, by way of the login page.
    pub async fn code(&mut self, email: &str, changes: &[(&str, &str)]) -> String {
        let answer = self.get(&authorize_path(changes)).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let answer = self.sign_in(&answer.location(), email, PASSWORD).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let answer = self.get(&answer.location()).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.redirected("code").expect("a code")
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn location(&self) -> String {
        self.header(LOCATION.as_str()).to_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// A parameter of the redirect.
    pub fn redirected(&self, name: &str) -> Option<String> {
        let url = Url::parse(&self.location()).ok()?;
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A hidden field of the page.
    pub fn hidden(&self, name: &str) -> String {
        let (_, after) = self.body.split_once(&format!("name=\"{name}\" value=\"")).expect("the field is there");
        after.split_once('"').unwrap().0.replace("&#38;", "&")
    }
}

/// The claims of a JWT, not verified.
pub fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}
