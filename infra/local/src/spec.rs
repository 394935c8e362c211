//! What a stack consists of, as plain data: read from `template.yaml` by [`crate::template`], built by tests.

use std::collections::BTreeMap;
use std::time::Duration;

/// Everything the local cloud has to play.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// The functions by package name.
    pub functions: BTreeMap<String, FunctionSpec>,
    /// The HTTP API's routes.
    pub routes: Vec<RouteSpec>,
    /// The queues, dead-letter queues included.
    pub queues: Vec<QueueSpec>,
    /// Which function a queue feeds.
    pub mappings: Vec<MappingSpec>,
    /// Which function runs when.
    pub schedules: Vec<ScheduleSpec>,
    /// The DynamoDB tables.
    pub tables: Vec<TableSpec>,
    /// The S3 buckets' names.
    pub buckets: Vec<String>,
}

/// A Lambda function.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// Package and binary name.
    pub name: String,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Memory in MB, told to the function.
    pub memory: u32,
    /// Its environment, references resolved.
    pub environment: BTreeMap<String, String>,
}

/// A route of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// `GET`, `POST`, …, or `ANY`.
    pub method: String,
    /// A path such as `/a/{id}` or `/a/{rest+}`.
    pub path: String,
    /// The function it reaches.
    pub function: String,
}

/// A standard SQS queue.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// The queue's name.
    pub name: String,
    /// How long a received message is hidden.
    pub visibility_timeout: Duration,
    /// How long a message is kept.
    pub retention: Duration,
    /// How long a sent message is hidden first.
    pub delay: Duration,
    /// The largest message, in bytes.
    pub max_message_size: usize,
    /// Where messages go that were received too often.
    pub redrive: Option<Redrive>,
}

impl QueueSpec {
    /// A queue with SQS's defaults and the largest message size.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            visibility_timeout: Duration::from_secs(30),
            retention: Duration::from_secs(4 * 24 * 3600),
            delay: Duration::ZERO,
            max_message_size: 1_048_576,
            redrive: None,
        }
    }
}

/// A redrive policy.
#[derive(Clone, Debug)]
pub struct Redrive {
    /// The dead-letter queue's name.
    pub target: String,
    /// The receive that would exceed this count moves the message instead.
    pub max_receive_count: u32,
}

/// An event source mapping from a queue to a function.
#[derive(Clone, Debug)]
pub struct MappingSpec {
    /// The queue's name.
    pub queue: String,
    /// The function's name.
    pub function: String,
    /// The most messages in one invocation.
    pub batch_size: usize,
    /// How long to wait for a batch to fill.
    pub window: Duration,
    /// Whether the function reports failures per record (`ReportBatchItemFailures`).
    pub report_failures: bool,
    /// The most invocations at the same time.
    pub max_concurrency: usize,
}

/// A schedule.
#[derive(Clone, Debug)]
pub struct ScheduleSpec {
    /// The schedule's name.
    pub name: String,
    /// The function's name.
    pub function: String,
    /// The time between two runs.
    pub every: Duration,
}

/// A DynamoDB table; every key attribute is a string.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// The table's name.
    pub name: String,
    /// The partition key's name.
    pub partition_key: String,
    /// The sort key's name.
    pub sort_key: Option<String>,
    /// The attribute that holds the expiry, for tables with one.
    pub ttl_attribute: Option<String>,
    /// The global secondary indexes.
    pub indexes: Vec<IndexSpec>,
}

/// A global secondary index that holds whole items; its keys are strings, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSpec {
    /// The index's name.
    pub name: String,
    /// The partition key's name.
    pub partition_key: String,
    /// The sort key's name.
    pub sort_key: Option<String>,
}
