//! The surroundings of the functions: real parts, each behind a recorder, gone when the measuring is over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use echo_local::dynamodb::DynamoDb;
use echo_local::lambda::runtime::copy_binary;
use echo_local::queue::{Queues, Receive};
use echo_local::spec::{FunctionSpec, MappingSpec, Stack, TableSpec};
use echo_local::stack::STACK_NAME;
use echo_local::state::State;
use echo_local::{mysql, sqs, stack, template};
use echo_shared::clock::Clock;
use echo_shared::config::Issuer;
use echo_shared::entropy::Entropy;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::events::{self, Events};
use super::guard::Guard;
use super::instance::{Function, Instance};
use super::recorder::{Record, Recorder, Service};
use crate::{Failure, seed};

/// The function that does nothing.
pub const FLOOR: &str = "hello";
/// Where the binaries are that `sam build` uploads.
const BINARIES: &str = "target/lambda";
/// Entries in the audit log before anything is measured.
const ENTRIES: usize = 100;

/// Everything that functions need, running.
pub struct Lab {
    /// Makes events.
    pub events: Events,
    functions: BTreeMap<String, Function>,
    recorders: Recorders,
    issuer: Instance,
    /// What feeds audit-consume.
    mapping: MappingSpec,
    mappings: Vec<MappingSpec>,
    /// SQS behind the recorder.
    sqs_endpoint: String,
    tables: Vec<TableSpec>,
    queues: Queues,
    guard: Guard,
    mysql: mysql::Server,
    dynamodb: DynamoDb,
    servers: JoinSet<()>,
    // Turns true, or goes away, when the SQS endpoint has to end.
    stop: watch::Sender<bool>,
    _state: State,
}

struct Recorders {
    dynamodb: Recorder,
    sqs: Recorder,
    jwks: Recorder,
}

impl Lab {
    /// Starts everything in `directory`, with tables, queues and functions from the template below `root`. Tables are
    /// kept in the file `database`, or else in memory.
    ///
    /// # Errors
    /// When a part does not start or a binary is missing.
    pub async fn start(root: &Path, directory: &Path, database: Option<&Path>) -> Result<Self, Failure> {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let state = State::open(directory, false).await?;
        let guard = Guard::start()?;
        let mysql = mysql::Server::start(&state.path("mysql"), directory, &state.path("logs/mysql.log")).await?;
        let dynamodb = DynamoDb::start(database).await?;
        let door = TcpListener::bind(("127.0.0.1", 0)).await?;
        let sqs_endpoint = format!("http://{}", door.local_addr()?);
        let keys = Arc::new(OnceLock::new());
        let mut servers = JoinSet::new();
        let recorders = Recorders {
            dynamodb: Recorder::start(Service::DynamoDb, dynamodb.endpoint()).await?,
            sqs: Recorder::start(Service::Sqs, sqs_endpoint.as_str()).await?,
            jwks: Recorder::start(Service::Jwks, serve_keys(&mut servers, Arc::clone(&keys)).await?).await?,
        };
        let issuer = Issuer::parse(recorders.jwks.endpoint())?;
        let context = stack::context(&state, &issuer, recorders.sqs.endpoint(), &entropy)?;
        let stack = template::read(&root.join("template.yaml"), &context)?;
        dynamodb.create_tables(&stack.tables).await?;
        let queues = Queues::new(mysql.database("echo").await?, stack.queues.clone());
        let (stop, stopped) = watch::channel(false);
        servers.spawn(sqs::serve(door, queues.clone(), context.queue_base_url, stopped));
        seed::demo(&dynamodb, issuer.as_str(), root).await?;

        let functions = functions(root, &state, &stack, &recorders)?;
        let events = Events::new(issuer, clock, entropy);
        let mut issuer = Instance::start(find(&functions, "login")?, &guard, None).await?;
        let _ = keys.set(events::body(&issuer.invoke(events.get("/oauth2/jwks", None)?).await?.body).await?);
        let mapping = audit_mapping(&stack)?;
        let lab = Self {
            events,
            functions,
            recorders,
            issuer,
            mapping,
            mappings: stack.mappings,
            sqs_endpoint,
            tables: stack.tables,
            queues,
            guard,
            mysql,
            dynamodb,
            servers,
            stop,
            _state: state,
        };
        lab.fill_the_log().await?;
        Ok(lab)
    }

    /// The names of the functions that are deployed.
    pub fn names(&self) -> Vec<String> {
        self.functions.keys().filter(|name| *name != FLOOR).cloned().collect()
    }

    /// A function.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn function(&self, name: &str) -> Result<&Function, Failure> {
        find(&self.functions, name)
    }

    /// Starts a process of a function; `waiting` is its first event.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn launch(&self, name: &str, waiting: Option<Bytes>) -> Result<Instance, Failure> {
        Instance::start(self.function(name)?, &self.guard, waiting).await
    }

    /// Starts a process of a function that speaks to DynamoDB itself: nothing is recorded, and no recorder takes time.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn launch_unrecorded(&self, name: &str) -> Result<Instance, Failure> {
        self.launch_with(name, &[("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.endpoint())]).await
    }

    /// Starts a process of a function with other values for some of its variables.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn launch_with(&self, name: &str, variables: &[(&str, &str)]) -> Result<Instance, Failure> {
        let mut function = self.function(name)?.clone();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        function.environment.extend(variables);
        Instance::start(&function, &self.guard, None).await
    }

    /// What feeds a function.
    ///
    /// # Errors
    /// When nothing does.
    pub fn mapping(&self, function: &str) -> Result<&MappingSpec, Failure> {
        let found = self.mappings.iter().find(|mapping| mapping.function == function);
        found.ok_or_else(|| format!("the template feeds {function} from no queue").into())
    }

    /// The queues behind the recorder.
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// SQS behind the recorder.
    pub fn sqs_endpoint(&self) -> &str {
        &self.sqs_endpoint
    }

    /// The most events that audit-consume gets at once.
    pub fn batch_size(&self) -> usize {
        self.mapping.batch_size
    }

    /// A table as the template describes it; `name` is without the stack's.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn table(&self, name: &str) -> Result<&TableSpec, Failure> {
        let full = format!("{STACK_NAME}-{name}");
        let found = self.tables.iter().find(|table| table.name == full);
        found.ok_or_else(|| format!("the template has no table `{full}`").into())
    }

    /// The database behind the recorder.
    pub fn dynamodb(&self) -> &DynamoDb {
        &self.dynamodb
    }

    /// An access token of the demo service, issued by login itself.
    ///
    /// # Errors
    /// When login does not issue one.
    pub async fn token(&mut self) -> Result<String, Failure> {
        let answer = self.issuer.invoke(self.events.client_credentials()?).await?;
        events::access_token(&answer.body).await
    }

    /// An event that `function` does its ordinary work for.
    ///
    /// # Errors
    /// When nothing is known that would make it work.
    pub async fn useful(&mut self, function: &str) -> Result<Bytes, Failure> {
        let token = self.token().await?;
        self.events.useful(function, &token)
    }

    /// From now on new connections to DynamoDB, SQS and the key set are silent for so long.
    pub fn delay_connections(&self, delay: Duration) {
        for recorder in self.recorders.all() {
            recorder.delay_connections(delay);
        }
    }

    /// What was recorded since this was last called.
    pub fn take(&self) -> Record {
        let mut record = Record::default();
        for recorder in self.recorders.all() {
            record.extend(recorder.take());
        }
        record
    }

    /// Takes all events out of the queue `audit`.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub async fn drain(&self) -> Result<Vec<String>, Failure> {
        let mut bodies = Vec::new();
        loop {
            let messages = self.queues.receive(&self.mapping.queue, Receive::up_to(10)).await?;
            if messages.is_empty() {
                return Ok(bodies);
            }
            let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
            self.queues.delete(&self.mapping.queue, &receipts).await?;
            bodies.extend(messages.into_iter().map(|message| message.body));
        }
    }

    /// Stops everything.
    pub async fn stop(mut self) {
        self.issuer.stop().await;
        self.stop.send_replace(true);
        self.servers.shutdown().await;
        self.dynamodb.stop().await;
        self.mysql.stop().await;
    }

    async fn fill_the_log(&self) -> Result<(), Failure> {
        let mut consumer = self.launch("audit-consume", None).await?;
        let answer = consumer.invoke(events::batch(&self.events.audit_events(ENTRIES))).await?;
        events::check("audit-consume", &answer.body)?;
        consumer.stop().await;
        Ok(())
    }
}

impl Recorders {
    fn all(&self) -> [&Recorder; 3] {
        [&self.dynamodb, &self.sqs, &self.jwks]
    }
}

/// Answers what login said its keys are, as soon as it has been asked.
async fn serve_keys(servers: &mut JoinSet<()>, keys: Arc<OnceLock<Bytes>>) -> Result<String, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let answer = async move || keys.get().cloned().ok_or(StatusCode::SERVICE_UNAVAILABLE);
    let app = Router::new().route("/oauth2/jwks", get(answer));
    servers.spawn(async move {
        let _ = axum::serve(listener, app).await;
    });
    Ok(url)
}

fn functions(
    root: &Path,
    state: &State,
    stack: &Stack,
    recorders: &Recorders,
) -> Result<BTreeMap<String, Function>, Failure> {
    let floor =
        FunctionSpec { name: FLOOR.into(), timeout: Duration::from_secs(3), memory: 128, environment: BTreeMap::new() };
    let aws = stack::aws_environment(recorders.dynamodb.endpoint(), recorders.sqs.endpoint());
    let mut functions = BTreeMap::new();
    for spec in stack.functions.values().chain([&floor]) {
        let program = copy_binary(&root.join(BINARIES), &spec.name, &state.path("functions"));
        let program = program
            .map_err(|error| format!("{BINARIES}/{}: {error}; run ./scripts/bench, which builds it", spec.name))?;
        let mut environment = aws.clone();
        environment.extend(spec.environment.clone());
        environment.extend(lambda_environment(spec));
        let log = state.path(&format!("logs/{}.log", spec.name));
        functions.insert(spec.name.clone(), Function { spec: spec.clone(), program, environment, log });
    }
    Ok(functions)
}

fn lambda_environment(spec: &FunctionSpec) -> BTreeMap<String, String> {
    let variables = [
        ("AWS_LAMBDA_FUNCTION_NAME", spec.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into()),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON".into()),
        ("LANG", "en_US.UTF-8".into()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
        ("TZ", ":UTC".into()),
    ];
    variables.map(|(name, value)| (name.to_owned(), value)).into()
}

fn audit_mapping(stack: &Stack) -> Result<MappingSpec, Failure> {
    let mapping = stack.mappings.iter().find(|mapping| mapping.function == "audit-consume");
    mapping.cloned().ok_or_else(|| "the template feeds audit-consume from no queue".into())
}

fn find<'a>(functions: &'a BTreeMap<String, Function>, name: &str) -> Result<&'a Function, Failure> {
    let known = functions.keys().cloned().collect::<Vec<_>>().join(", ");
    functions.get(name).ok_or_else(|| format!("there is no function `{name}`; choose one of {known}").into())
}
