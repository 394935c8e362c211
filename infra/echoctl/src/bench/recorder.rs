//! A proxy in front of a service: it writes down what is asked, and makes new connections as slow as far ones are.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;

/// What a recorder stands in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// DynamoDB; it is asked for the capacity that each request consumes.
    DynamoDb,
    /// SQS.
    Sqs,
    /// The issuer's key set.
    Jwks,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Where it went.
    pub service: Service,
    /// The last part of `x-amz-target`, or the path.
    pub action: String,
    /// The tables it touched, for DynamoDB.
    pub tables: Vec<String>,
    /// The read units that DynamoDB counted.
    pub read_units: f64,
    /// The write units that DynamoDB counted, those of indexes included.
    pub write_units: f64,
    /// The write units of indexes alone. A transaction doubles those of its tables
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-capacity-handling>)
    /// and not these: indexes follow later, by ordinary writes
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.ThroughputConsiderations.Writes>).
    pub index_units: f64,
    /// The size of its body, in bytes.
    pub bytes: usize,
}

/// What went through one recorder or several.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Connections that were opened.
    pub connections: usize,
    /// Requests, in the order of their answers.
    pub calls: Vec<Call>,
}

impl Record {
    /// Adds another record's content.
    pub fn extend(&mut self, other: Self) {
        self.connections += other.connections;
        self.calls.extend(other.calls);
    }
}

/// A running proxy. Dropping it ends it.
pub struct Recorder {
    endpoint: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

struct Shared {
    service: Service,
    upstream: String,
    http: reqwest::Client,
    delay_ms: AtomicU64,
    record: Mutex<Record>,
}

impl Shared {
    fn note(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Recorder {
    /// Stands in front of the service at the URL `upstream`, without a delay.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(service: Service, upstream: impl Into<String>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            service,
            upstream: upstream.into(),
            http: reqwest::Client::new(),
            delay_ms: AtomicU64::new(0),
            record: Mutex::default(),
        });
        let app = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let doors = Doors { listener, shared: Arc::clone(&shared) };
        let mut server = JoinSet::new();
        server.spawn(async move {
            let _ = axum::serve(doors, app).await;
        });
        Ok(Self { endpoint, shared, _server: server })
    }

    /// The URL at which it stands in for the service.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// From now on new connections are silent for so long.
    pub fn delay_connections(&self, delay: Duration) {
        self.shared.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was recorded since this was last called.
    pub fn take(&self) -> Record {
        let mut taken = Record::default();
        self.shared.note(|record| std::mem::swap(record, &mut taken));
        taken
    }
}

/// Accepts connections and counts them.
struct Doors {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Listener for Doors {
    type Io = Delayed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Delayed, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // The proxy must not add the waiting of Nagle's algorithm.
        let _ = stream.set_nodelay(true);
        self.shared.note(|record| record.connections += 1);
        let delay = Duration::from_millis(self.shared.delay_ms.load(Ordering::Relaxed));
        let silence = (!delay.is_zero()).then(|| Box::pin(tokio::time::sleep(delay)));
        (Delayed { stream, silence }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that is deaf at first.
struct Delayed {
    stream: TcpStream,
    silence: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Delayed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(silence) = &mut self.silence {
            ready!(silence.as_mut().poll(cx));
            self.silence = None;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Delayed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    pass_on(&shared, request).await.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error).into_response())
}

async fn pass_on(shared: &Shared, request: Request) -> Result<Response, String> {
    let (mut parts, body) = request.into_parts();
    let mut body = to_bytes(body, usize::MAX).await.map_err(|error| error.to_string())?;
    let mut call = Call {
        service: shared.service,
        action: action(&parts),
        tables: Vec::new(),
        read_units: 0.0,
        write_units: 0.0,
        index_units: 0.0,
        bytes: body.len(),
    };
    if shared.service == Service::DynamoDb {
        body = asking_for_capacity(body);
    }
    drop_connection_headers(&mut parts.headers);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let onward = shared.http.request(parts.method, format!("{}{path}", shared.upstream)).headers(parts.headers);
    let answer = onward.body(body).send().await.map_err(|error| error.to_string())?;
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.map_err(|error| error.to_string())?;
    if shared.service == Service::DynamoDb {
        count_capacity(&mut call, &body);
    }
    shared.note(|record| record.calls.push(call));
    drop_connection_headers(&mut headers);
    Ok((status, headers, Body::from(body)).into_response())
}

fn action(parts: &Parts) -> String {
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let named = target.and_then(|target| target.rsplit('.').next());
    named.unwrap_or_else(|| parts.uri.path()).to_owned()
}

/// What each connection says for itself.
fn drop_connection_headers(headers: &mut HeaderMap) {
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

fn asking_for_capacity(body: Bytes) -> Bytes {
    match serde_json::from_slice(&body) {
        Ok(Value::Object(mut request)) => {
            request.insert("ReturnConsumedCapacity".into(), json!("INDEXES"));
            Bytes::from(Value::Object(request).to_string())
        }
        _ => body,
    }
}

/// A transaction answers one entry per table, everything else one entry, which does not say what kind its units are.
fn count_capacity(call: &mut Call, answer: &[u8]) {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let consumed = match answer.get("ConsumedCapacity") {
        Some(Value::Array(tables)) => tables.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let reads = ["GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"].contains(&call.action.as_str());
    let mut tables = BTreeSet::new();
    for entry in &consumed {
        let units = |name: &str| entry.get(name).and_then(Value::as_f64);
        tables.extend(entry.get("TableName").and_then(Value::as_str).map(ToOwned::to_owned));
        let all = units("CapacityUnits").unwrap_or_default();
        if !reads {
            call.index_units += index_units(entry);
        }
        match (units("ReadCapacityUnits"), units("WriteCapacityUnits")) {
            (None, None) if reads => call.read_units += all,
            (None, None) => call.write_units += all,
            (read, write) => {
                call.read_units += read.unwrap_or_default();
                call.write_units += write.unwrap_or_default();
            }
        }
    }
    call.tables = tables.into_iter().collect();
}

/// What an entry's total holds for global secondary indexes.
fn index_units(entry: &Value) -> f64 {
    let indexes = entry.get("GlobalSecondaryIndexes").and_then(Value::as_object);
    indexes.into_iter().flatten().filter_map(|(_, index)| index.get("CapacityUnits")?.as_f64()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use aws_sdk_dynamodb::types::{AttributeValue, ParameterizedStatement};
    use axum::Router;
    use axum::body::Bytes;
    use echo_local::dynamodb::{DynamoDb, client};
    use echo_local::spec::{IndexSpec, TableSpec};
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::{Recorder, Service};

    /// Answers what it was asked, and units as DynamoDB does for one item and for a transaction.
    async fn upstream() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = async |body: Bytes| {
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            let consumed = match asked.get("TransactItems") {
                Some(_) => json!([{"TableName": "b", "CapacityUnits": 4.0, "WriteCapacityUnits": 4.0,
                                   "GlobalSecondaryIndexes": {"i": {"CapacityUnits": 1.0}, "j": {"CapacityUnits": 1.0}}},
                                  {"TableName": "a", "CapacityUnits": 2.0, "WriteCapacityUnits": 2.0}]),
                None => json!({"TableName": "a", "CapacityUnits": 0.5}),
            };
            json!({ "asked": asked, "ConsumedCapacity": consumed }).to_string()
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        url
    }

    async fn connect(recorder: &Recorder) -> TcpStream {
        TcpStream::connect(recorder.endpoint().trim_start_matches("http://")).await.unwrap()
    }

    /// A request over a connection of our own: a client's pool would decide for itself what it keeps.
    async fn over(connection: &mut TcpStream, target: &str, body: Value) -> Value {
        let body = body.to_string();
        let head =
            format!("POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: {target}\r\ncontent-length: {}\r\n\r\n", body.len());
        connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            assert!(connection.read_buf(&mut answer).await.unwrap() > 0);
            let text = String::from_utf8_lossy(&answer);
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Ok(json) = serde_json::from_str(body)
            {
                return json;
            }
        }
    }

    #[tokio::test]
    async fn requests_connections_and_units_are_counted() {
        let recorder = Recorder::start(Service::DynamoDb, upstream().await).await.unwrap();
        let mut connection = connect(&recorder).await;
        let answer = over(&mut connection, "DynamoDB_20120810.GetItem", json!({"TableName": "a"})).await;
        assert_eq!(answer["asked"]["ReturnConsumedCapacity"], "INDEXES");
        over(&mut connection, "DynamoDB_20120810.TransactWriteItems", json!({"TransactItems": []})).await;
        let record = recorder.take();
        assert_eq!((record.connections, record.calls.len()), (1, 2));
        let (get, write) = (&record.calls[0], &record.calls[1]);
        assert_eq!((get.action.as_str(), get.read_units, get.write_units), ("GetItem", 0.5, 0.0));
        assert_eq!((write.read_units, write.write_units, write.index_units), (0.0, 6.0, 2.0));
        assert_eq!(write.tables, ["a", "b"]);
        assert!(recorder.take().calls.is_empty(), "what was taken is gone");
    }

    /// An item of over a kilobyte, in a transaction and in an index: two units twice, and two more.
    #[tokio::test]
    async fn the_database_doubles_what_is_in_a_transaction_and_not_its_indexes() {
        let database = DynamoDb::start(None).await.unwrap();
        let index = IndexSpec { name: "by_one".into(), partition_key: "by".into(), sort_key: None };
        let table = TableSpec {
            name: "items".into(),
            partition_key: "pk".into(),
            sort_key: None,
            ttl_attribute: None,
            indexes: vec![index],
        };
        database.create_tables(&[table]).await.unwrap();
        let recorder = Recorder::start(Service::DynamoDb, database.endpoint()).await.unwrap();
        let values = ["1", "x", &"y".repeat(1_100)].map(|value| AttributeValue::S(value.into()));
        let insert = ParameterizedStatement::builder().set_parameters(Some(values.into()));
        let insert = insert.statement("INSERT INTO \"items\" VALUE {'pk': ?, 'by': ?, 'data': ?}").build().unwrap();
        client(recorder.endpoint()).execute_transaction().transact_statements(insert).send().await.unwrap();
        let call = recorder.take().calls.remove(0);
        assert_eq!((call.action.as_str(), call.write_units, call.index_units), ("ExecuteTransaction", 6.0, 2.0));
    }

    #[tokio::test]
    async fn other_services_get_their_requests_as_they_are() {
        let recorder = Recorder::start(Service::Sqs, upstream().await).await.unwrap();
        let body = json!({"QueueUrl": "q"});
        let answer = over(&mut connect(&recorder).await, "AmazonSQS.SendMessage", body.clone()).await;
        assert_eq!(answer["asked"], body);
        let call = recorder.take().calls.remove(0);
        assert_eq!((call.action.as_str(), call.write_units, call.bytes), ("SendMessage", 0.0, body.to_string().len()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_new_connection_waits_and_a_kept_one_does_not() {
        let delay = Duration::from_secs(3);
        let recorder = Recorder::start(Service::Sqs, upstream().await).await.unwrap();
        recorder.delay_connections(delay);
        let (mut one, mut other) = (connect(&recorder).await, connect(&recorder).await);
        let begun = Instant::now();
        tokio::join!(over(&mut one, "A.B", json!({})), over(&mut other, "A.B", json!({})));
        let both = begun.elapsed();
        assert!(both >= delay / 2 && both < 2 * delay, "side by side, not one after the other: {both:?}");
        let begun = Instant::now();
        over(&mut one, "A.B", json!({})).await;
        assert!(begun.elapsed() < delay);
        assert_eq!(recorder.take().connections, 2);
    }
}
