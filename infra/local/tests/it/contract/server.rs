//! The two servers, and what their tests ask of them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::change_message_visibility::builders::ChangeMessageVisibilityFluentBuilder;
use aws_sdk_sqs::operation::delete_message::builders::DeleteMessageFluentBuilder;
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use echo_local::process::{Child, Spec};
use echo_local::spec::QueueSpec;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support;

/// Queues on one of the servers; the tests' main queue is called `q`.
pub struct Server {
    pub client: Client,
    urls: BTreeMap<String, String>,
}

/// The queues on Echo's local SQS.
pub async fn echo(specs: Vec<QueueSpec>) -> Server {
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    let (_, client, base) = support::sqs(specs).await;
    let urls = names.into_iter().map(|name| (name.clone(), format!("{base}/{name}"))).collect();
    Server { client, urls }
}

/// The queues on MiniStack, under names of their own.
pub async fn ministack(specs: Vec<QueueSpec>) -> Server {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let endpoint = tokio::task::spawn_blocking(emulator).await.unwrap();
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .build();
    let mut server = Server { client: Client::from_conf(config), urls: BTreeMap::new() };
    let run = NEXT.fetch_add(1, Ordering::Relaxed);
    // A queue's dead-letter queue comes before it.
    for spec in specs.iter().rev() {
        let mut attributes = vec![
            (QueueAttributeName::VisibilityTimeout, spec.visibility_timeout.as_secs().to_string()),
            (QueueAttributeName::MessageRetentionPeriod, spec.retention.as_secs().to_string()),
            (QueueAttributeName::DelaySeconds, spec.delay.as_secs().to_string()),
            (QueueAttributeName::MaximumMessageSize, spec.max_message_size.to_string()),
        ];
        if let Some(redrive) = &spec.redrive {
            let target = server.arn(&redrive.target).await;
            let policy = json!({ "deadLetterTargetArn": target, "maxReceiveCount": redrive.max_receive_count });
            attributes.push((QueueAttributeName::RedrivePolicy, policy.to_string()));
        }
        let create = server.client.create_queue().queue_name(format!("{}-{run}", spec.name));
        let created = create.set_attributes(Some(attributes.into_iter().collect())).send().await.unwrap();
        server.urls.insert(spec.name.clone(), created.queue_url.unwrap());
    }
    server
}

/// Where the test process's MiniStack is. It belongs to a thread that stays: the kernel kills it when its starter ends.
fn emulator() -> &'static str {
    static ENDPOINT: OnceLock<String> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        let (give, take) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (endpoint, _running) = start().await;
                give.send(endpoint).unwrap();
                std::future::pending::<()>().await;
            });
        });
        take.recv().expect("MiniStack starts")
    })
}

async fn start() -> (String, Child) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.echo/ministack/bin/ministack");
    assert!(program.exists(), "{} is missing: ./scripts/setup --test installs it", program.display());
    let folder = support::folder("ministack");
    let held = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let endpoint = format!("http://127.0.0.1:{port}");
    let environment = [("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "127.0.0.1"), ("GATEWAY_PORT", port.as_str())];
    let spec = Spec {
        name: "MiniStack".into(),
        program: program.canonicalize().unwrap(),
        args: vec![],
        env: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        log: folder.join("log"),
        directory: Some(folder),
        listener: None,
    };
    // Held until here, where the emulator takes it.
    drop(held);
    let child = Child::start(&spec).await.unwrap();
    let health = format!("{endpoint}/_ministack/health");
    for _ in 0..600 {
        if reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()) {
            return (endpoint, child);
        }
        assert!(child.exit_status().is_none(), "MiniStack ended: {}", child.last_lines());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("MiniStack does not start: {}", child.last_lines());
}

impl Server {
    pub fn url(&self, queue: &str) -> &str {
        &self.urls[queue]
    }

    pub async fn arn(&self, queue: &str) -> String {
        self.attributes(queue).await.remove(&QueueAttributeName::QueueArn).unwrap()
    }

    pub async fn attributes(&self, queue: &str) -> BTreeMap<QueueAttributeName, String> {
        let all = self.client.get_queue_attributes().queue_url(self.url(queue));
        let all = all.attribute_names(QueueAttributeName::All).send().await.unwrap();
        all.attributes.unwrap().into_iter().collect()
    }

    /// How many messages the queue has: visible, in flight, delayed.
    pub async fn counts(&self, queue: &str) -> [u64; 3] {
        let all = self.attributes(queue).await;
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        names.map(|name| all[&name].parse().unwrap())
    }

    /// Waits until `q` has these counts.
    pub async fn until(&self, counts: [u64; 3]) {
        let mut last = [u64::MAX; 3];
        for _ in 0..200 {
            last = self.counts("q").await;
            if last == counts {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{last:?} instead of {counts:?}");
    }

    pub fn send(&self, body: impl Into<String>) -> SendMessageFluentBuilder {
        self.client.send_message().queue_url(self.url("q")).message_body(body)
    }

    /// Sends to `q`; the messages' ids.
    pub async fn sent(&self, bodies: &[&str]) -> Vec<String> {
        let mut ids = Vec::new();
        for &body in bodies {
            ids.push(self.send(body).send().await.unwrap().message_id.unwrap());
        }
        ids
    }

    pub fn receive(&self, queue: &str) -> ReceiveMessageFluentBuilder {
        self.client.receive_message().queue_url(self.url(queue))
    }

    /// What a short poll of `q` brings.
    pub async fn short(&self) -> Vec<Message> {
        let received = self.receive("q").max_number_of_messages(10).wait_time_seconds(0).send().await.unwrap();
        received.messages.unwrap_or_default()
    }

    /// Receives one message with all that is known of it, waiting for it.
    pub async fn one(&self, queue: &str) -> Message {
        let receive = self.receive(queue).message_system_attribute_names(MessageSystemAttributeName::All);
        let received = receive.wait_time_seconds(15).send().await.unwrap();
        received.messages.unwrap_or_default().pop().expect("a message")
    }

    pub fn delete(&self, handle: &str) -> DeleteMessageFluentBuilder {
        self.client.delete_message().queue_url(self.url("q")).receipt_handle(handle)
    }

    pub fn hide(&self, handle: &str, seconds: i32) -> ChangeMessageVisibilityFluentBuilder {
        let change = self.client.change_message_visibility().queue_url(self.url("q"));
        change.receipt_handle(handle).visibility_timeout(seconds)
    }
}

/// The handle of a received message.
pub fn handle(message: &Message) -> &str {
    message.receipt_handle().unwrap()
}

/// A system attribute of a received message.
pub fn attribute(message: &Message, name: MessageSystemAttributeName) -> &str {
    &message.attributes().unwrap()[&name]
}

/// The error's code.
pub fn code<T: Debug, E: ProvideErrorMetadata + Debug>(result: Result<T, SdkError<E>>) -> String {
    result.unwrap_err().code().unwrap().to_owned()
}

/// Why MiniStack need not behave as AWS does.
pub struct Excuse {
    /// What AWS does.
    pub aws: &'static str,
    /// Where that is written.
    pub source: &'static str,
    /// What the emulator does, and why we can live with it.
    pub why: &'static str,
}

impl Excuse {
    /// Expects the behaviour to be missing still: an excuse that is no longer needed goes.
    pub async fn holds(self, behaviour: impl Future<Output = ()> + Send + 'static) {
        let outcome = tokio::spawn(behaviour).await;
        let excuse = format!("AWS {} ({}). MiniStack is excused: {}.", self.aws, self.source, self.why);
        println!("{excuse}");
        let failed = outcome.is_err_and(|error| error.is_panic());
        assert!(failed, "no longer needed: {excuse}");
    }
}
