//! The whole cloud: started in order, watched, stopped in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use echo_shared::clock::Clock;
use echo_shared::config::{ConfigError, Issuer};
use echo_shared::entropy::Entropy;
use echo_shared::secret::Secret;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::dynamodb::{DynamoDb, DynamoDbError};
use crate::gateway::{Gateway, RouteError};
use crate::lambda::watch::WatchError;
use crate::lambda::{Invoke, InvokeError, Lambda, Runtime, Watch, runtime};
use crate::logs::Forwarder;
use crate::mysql::{self, MySqlError};
use crate::process::Listener;
use crate::queue::Queues;
use crate::spec::Stack;
use crate::state::{Process, Run, State, StateError, make_runtime_directory, remove_runtime_directory};
use crate::template::{self, ACCOUNT, Context, REGION, TemplateError};
use crate::{mapping, s3, schedule, sqs};

/// The stack's name: the prefix of its tables, queues and buckets.
pub const STACK_NAME: &str = "echo";

/// What to start.
pub struct Options {
    /// The workspace: where `template.yaml` is.
    pub root: PathBuf,
    /// The gateway's port; 0 takes a free one.
    pub port: u16,
    /// How functions run.
    pub mode: Mode,
    /// A MySQL server of the user's own.
    pub mysql_url: Option<Secret>,
}

/// How functions run.
pub enum Mode {
    /// By `cargo lambda watch`; this is the cargo that knows it.
    Watch {
        /// The `cargo-lambda` program.
        cargo_lambda: PathBuf,
    },
    /// From what `cargo lambda build` put into this folder.
    Release {
        /// The folder.
        binaries: PathBuf,
    },
}

/// The stack could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The gateway's port is taken.
    #[error("port {0} is in use; stop what listens there, or choose another with --port")]
    Port(u16),
    /// No port or directory could be had.
    #[error("cannot use loopback or the temporary directory: {0}")]
    Io(#[from] std::io::Error),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The template cannot be played.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// MySQL cannot be used.
    #[error(transparent)]
    MySql(#[from] MySqlError),
    /// DynamoDB cannot be used.
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
    /// The routes are in conflict.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// `cargo lambda watch` does not run.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A function does not run.
    #[error("the function {0} does not start: {1}\nits log: {2}")]
    Function(String, InvokeError, String),
    /// The log store's settings cannot be used.
    #[error("log-consume: {0}")]
    Settings(#[from] ConfigError),
    /// The issuer would not be one.
    #[error("{0}")]
    Issuer(String),
}

/// A running stack.
pub struct Running {
    state: Arc<State>,
    run: Run,
    stack: Stack,
    mysql: Arc<mysql::Server>,
    dynamodb: DynamoDb,
    lambda: Lambda,
    forwarder: Option<Forwarder>,
    /// Claims stop first, then the front door, then the servers behind it.
    stop_workers: watch::Sender<bool>,
    stop_doors: watch::Sender<bool>,
    workers: JoinSet<()>,
    doors: JoinSet<()>,
    keeper: JoinSet<()>,
}

/// Starts everything. `progress` is told what is being done.
///
/// # Errors
/// When a part cannot be started; what was started before is ended.
pub async fn start(state: State, options: Options, progress: impl Fn(&str)) -> Result<Running, StackError> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let state = Arc::new(state);
    let front = listen(options.port).await?;
    let url = format!("http://localhost:{}", front.local_addr()?.port());
    let issuer = Issuer::parse(&url).map_err(StackError::Issuer)?;
    let back = TcpListener::bind(("127.0.0.1", 0)).await?;
    let sqs_endpoint = format!("http://{}", back.local_addr()?);
    let objects = TcpListener::bind(("127.0.0.1", 0)).await?;
    let context = context(&state, &issuer, &sqs_endpoint, &entropy)?;
    let stack = template::read(&options.root.join("template.yaml"), &context)?;
    let runtime_directory = make_runtime_directory(&entropy)?;

    progress("starting MySQL");
    let mysql = match &options.mysql_url {
        Some(url) => mysql::Server::external(url.expose()).await,
        None => mysql::Server::start(&state.path("mysql"), &runtime_directory, &state.path("logs/mysql.log")).await,
    };
    let mysql = mysql.inspect_err(|_| remove_runtime_directory(&runtime_directory))?;
    let mysql = Arc::new(mysql);
    let pool = mysql.database("echo").await?;
    let queues = Queues::new(pool, stack.queues.clone());

    progress("starting DynamoDB, SQS and S3");
    let dynamodb = DynamoDb::start(Some(&state.path("dynamodb.sqlite"))).await?;
    dynamodb.create_tables(&stack.tables).await?;
    let (stop_workers, workers_stopped) = watch::channel(false);
    let (stop_doors, doors_stopped) = watch::channel(false);
    let (mut workers, mut doors) = (JoinSet::new(), JoinSet::new());
    doors.spawn(sqs::serve(back, queues.clone(), format!("{sqs_endpoint}/{ACCOUNT}"), doors_stopped.clone()));

    let mut run = Run {
        pid: std::process::id(),
        url,
        sqs_endpoint,
        dynamodb_endpoint: dynamodb.endpoint().into(),
        s3_endpoint: format!("http://{}", objects.local_addr()?),
        lambda_endpoint: String::new(),
        mysql_socket: mysql.socket().map(Path::to_path_buf),
        runtime_directory,
        environment: BTreeMap::new(),
        processes: Vec::new(),
    };
    doors.spawn(s3::serve(objects, state.path("s3"), stack.buckets.clone(), doors_stopped.clone()));
    run.environment = shared_environment(&stack, &run);
    state.write("env", &env_file(&run.environment))?;
    run.environment.remove("ECHO_MASTER_KEY");
    state.record(&run_with(&run, mysql.pid(), &[]));

    progress("starting the functions");
    let forwarder = Forwarder::start(&stack, queues.clone(), clock.clone())?;
    let listener = forwarder.as_ref().map(Forwarder::listener);
    let lambda = start_lambda(&state, &options, &stack, &run, (&clock, &entropy), listener).await?;
    run.lambda_endpoint = lambda.endpoint();
    let (_, no_functions) = watch::channel(Vec::new());
    let functions = match &lambda {
        Lambda::Watch(watch) => {
            run.processes.push(Process::of("cargo lambda watch", watch.child().pid()));
            no_functions
        }
        Lambda::Runtime(runtime) => runtime.running(),
    };
    let mut keeper = JoinSet::new();
    keeper.spawn(keep_book(Arc::clone(&state), run.clone(), mysql.pids(), functions));
    keeper.spawn({
        let mysql = Arc::clone(&mysql);
        async move { mysql.keep_running().await }
    });
    warm_up(&stack, &lambda, &state).await?;

    workers.spawn(queues.clone().keep_clean(workers_stopped.clone()));
    for mapping in &stack.mappings {
        workers.spawn(mapping::run(mapping.clone(), queues.clone(), lambda.clone(), workers_stopped.clone()));
    }
    for schedule in &stack.schedules {
        workers.spawn(schedule::run(schedule.clone(), lambda.clone(), clock.clone(), workers_stopped.clone()));
    }
    let gateway = Gateway::new(&stack.routes, lambda.clone(), clock, entropy)?;
    doors.spawn(gateway.serve(front, doors_stopped));
    Ok(Running {
        state,
        run,
        stack,
        mysql,
        dynamodb,
        lambda,
        forwarder,
        stop_workers,
        stop_doors,
        workers,
        doors,
        keeper,
    })
}

impl Running {
    /// What runs where.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// What the template describes.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The local DynamoDB.
    pub fn dynamodb(&self) -> &DynamoDb {
        &self.dynamodb
    }

    /// Waits until a part without which nothing works, and that is not started again, has ended; its name and last lines.
    pub async fn failed(&self) -> String {
        match &self.lambda {
            Lambda::Watch(watch) => {
                watch.child().wait().await;
                format!("cargo lambda watch ended:\n{}", watch.child().last_lines())
            }
            Lambda::Runtime(_) => std::future::pending().await,
        }
    }

    /// Stops everything: what is in flight is finished, nothing is lost, nothing is left running.
    pub async fn stop(mut self) {
        self.stop_workers.send_replace(true);
        self.stop_doors.send_replace(true);
        let patience = Duration::from_secs(20);
        let finish = async { while self.workers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(patience, finish).await;
        let _ = tokio::time::timeout(Duration::from_secs(5), async { while self.doors.join_next().await.is_some() {} })
            .await;
        self.doors.abort_all();
        match &self.lambda {
            Lambda::Watch(watch) => watch.child().stop(Duration::from_secs(5)).await,
            Lambda::Runtime(runtime) => runtime.stop().await,
        }
        if let Some(forwarder) = self.forwarder.take() {
            forwarder.stop().await;
        }
        self.keeper.abort_all();
        self.dynamodb.stop().await;
        self.mysql.stop().await;
        remove_runtime_directory(&self.run.runtime_directory);
        self.state.clear();
    }
}

/// What the template cannot know: names, issuer, master key, and where queues are.
///
/// # Errors
/// When there is no master key and none can be kept.
pub fn context(state: &State, issuer: &Issuer, sqs_endpoint: &str, entropy: &Entropy) -> Result<Context, StateError> {
    Ok(Context {
        stack_name: STACK_NAME.into(),
        parameters: BTreeMap::from([
            ("Issuer".into(), issuer.as_str().into()),
            ("MasterKey.Value".into(), state.master_key(entropy)?.expose().into()),
        ]),
        queue_base_url: format!("{sqs_endpoint}/{ACCOUNT}"),
    })
}

async fn listen(port: u16) -> Result<TcpListener, StackError> {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(StackError::Port(port)),
        Err(error) => Err(error.into()),
    }
}

async fn start_lambda(
    state: &State,
    options: &Options,
    stack: &Stack,
    run: &Run,
    (clock, entropy): (&Clock, &Entropy),
    listener: Option<Listener>,
) -> Result<Lambda, StackError> {
    match &options.mode {
        Mode::Watch { cargo_lambda } => {
            let log = state.path("logs/functions.log");
            let watch = Watch::start(&options.root, cargo_lambda, &state.path("env"), &log, listener).await?;
            Ok(Lambda::Watch(watch))
        }
        Mode::Release { binaries } => {
            let copies = state.path("functions");
            for name in stack.functions.keys() {
                runtime::copy_binary(binaries, name, &copies)?;
            }
            let options = runtime::Options {
                binaries: copies,
                logs: state.path("logs"),
                environment: endpoints(run),
                clock: clock.clone(),
                entropy: entropy.clone(),
                listener,
            };
            Ok(Lambda::Runtime(Runtime::start(&stack.functions, options).await?))
        }
    }
}

/// Invokes every function once, so that "ready" means ready. Schedules run at once by themselves.
async fn warm_up(stack: &Stack, lambda: &Lambda, state: &State) -> Result<(), StackError> {
    let mut probes = JoinSet::new();
    for name in stack.functions.keys() {
        let payload = if stack.routes.iter().any(|route| route.function == *name) {
            json!({
                "version": "2.0", "routeKey": "$default", "rawPath": "/warm-up", "rawQueryString": "", "headers": {},
                "isBase64Encoded": false,
                "requestContext": {"http": {"method": "GET", "path": "/warm-up"}, "stage": "$default", "timeEpoch": 0},
            })
        } else if stack.mappings.iter().any(|mapping| mapping.function == *name) {
            json!({ "Records": [] })
        } else {
            continue;
        };
        let (lambda, name) = (lambda.clone(), name.clone());
        probes.spawn(async move {
            let answer = lambda.invoke(&name, Bytes::from(payload.to_string())).await;
            (name, answer)
        });
    }
    while let Some(probe) = probes.join_next().await {
        if let Ok((name, Err(error))) = probe {
            let log = state.path("logs").display().to_string();
            return Err(StackError::Function(name, error, log));
        }
    }
    Ok(())
}

/// Keeps `run.json` true as processes come and go.
async fn keep_book(
    state: Arc<State>,
    run: Run,
    mut mysql: watch::Receiver<Option<u32>>,
    mut functions: watch::Receiver<Vec<runtime::Running>>,
) {
    loop {
        let (pid, running) = (*mysql.borrow_and_update(), functions.borrow_and_update().clone());
        state.record(&run_with(&run, pid, &running));
        tokio::select! {
            Ok(()) = mysql.changed() => {}
            Ok(()) = functions.changed() => {}
            // Neither will change again.
            else => return,
        }
    }
}

fn run_with(run: &Run, mysql: Option<u32>, functions: &[runtime::Running]) -> Run {
    let mut run = run.clone();
    run.processes.extend(mysql.map(|pid| Process::of("mysql", pid)));
    run.processes.extend(functions.iter().map(|running| Process::of(&running.function, running.pid)));
    run
}

/// Region, endpoints and made-up credentials, as every AWS SDK reads them.
pub fn aws_environment(dynamodb: &str, sqs: &str) -> BTreeMap<String, String> {
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
        ("AWS_ENDPOINT_URL_SQS", sqs),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// [`aws_environment`], and where S3 is.
fn endpoints(run: &Run) -> BTreeMap<String, String> {
    let mut environment = aws_environment(&run.dynamodb_endpoint, &run.sqs_endpoint);
    environment.insert("AWS_ENDPOINT_URL_S3".into(), run.s3_endpoint.clone());
    environment
}

/// What `cargo lambda watch` gives to all functions alike.
fn shared_environment(stack: &Stack, run: &Run) -> BTreeMap<String, String> {
    let mut environment = endpoints(run);
    for function in stack.functions.values() {
        environment.extend(function.environment.clone());
    }
    environment
}

/// Quoted: cargo-lambda and shells alike take a value with an equals sign only so.
fn env_file(environment: &BTreeMap<String, String>) -> String {
    environment.iter().map(|(name, value)| format!("{name}=\"{value}\"\n")).collect()
}
