//! Power failures: what MariaDB wrote but never synced is gone, all of it or any part of it. Whatever was acknowledged
//! must have been synced before.
//!
//! The server runs behind `power/unsynced.c`, which keeps a journal of what its writes take away, and is killed under
//! load. Then the power fails at a bad moment of that time, when much was not synced: what was written later is undone,
//! and what no sync followed until then. An ordinary server recovers what is left.

mod journal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use echo_local::mysql::{MySqlError, Server};
use echo_local::process::{Child, Spec};
use echo_local::queue::{Outgoing, Queues, Receive};
use sqlx::mysql::MySqlPool;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::support::{folder, q};
use journal::{Journal, files, half, nothing};

/// How long the load runs at least.
const LOAD: Duration = Duration::from_millis(800);
/// Asynchronous I/O of the kernel passes the shim by.
const SEEN: &str = "--innodb-use-native-aio=0";
/// Pages are written as soon as they are changed, as under a load that lasts: some are on their way at any time.
const BUSY: [&str; 2] = ["--innodb-max-dirty-pages-pct=0", "--innodb-max-dirty-pages-pct-lwm=0"];
/// So many changes are not synced at once when pages are on their way, or commits.
const MANY: usize = 100;

/// A machine whose power can fail.
struct Machine {
    folder: PathBuf,
    shim: PathBuf,
    /// How the private server is started, the program first.
    command: Vec<String>,
}

impl Machine {
    /// With an empty queue, all of it on disk.
    async fn new(name: &str) -> Self {
        let folder = folder(name).canonicalize().unwrap();
        let shim = folder.join("unsynced.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/power/unsynced.c");
        let options = ["-shared", "-fPIC", "-O1", "-pthread", "-o"];
        assert!(Command::new("cc").args(options).arg(&shim).arg(source).status().unwrap().success());
        let mut machine = Self { folder, shim, command: Vec::new() };
        let server = machine.recover().await.unwrap();
        server.database("echo").await.unwrap();
        let command = std::fs::read(format!("/proc/{}/cmdline", server.pid().unwrap())).unwrap();
        let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        machine.command = words.map(|word| String::from_utf8(word.to_vec()).unwrap()).collect();
        server.stop().await;
        machine
    }

    fn data(&self) -> PathBuf {
        self.folder.join("mysql/data")
    }

    fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// The private server as it is shipped, on whatever there is.
    async fn recover(&self) -> Result<Server, MySqlError> {
        let folder = &self.folder;
        Server::start(&folder.join("mysql"), &folder.join("run"), &folder.join("log")).await
    }

    /// The same server behind the shim, with `options` of its own.
    async fn start(&self, options: &[&str]) -> (Child, MySqlPool) {
        let _ = std::fs::remove_file(self.journal());
        let environment =
            [("LD_PRELOAD", &self.shim), ("UNSYNCED_BELOW", &self.data()), ("UNSYNCED_JOURNAL", &self.journal())];
        let options = options.iter().chain([&SEEN]).map(|&option| option.to_owned());
        let spec = Spec {
            name: "mysql".into(),
            program: self.command[0].clone().into(),
            args: self.command[1..].iter().cloned().chain(options).collect(),
            env: environment.map(|(name, value)| (name.to_owned(), value.display().to_string())).into(),
            directory: None,
            log: self.folder.join("log"),
            listener: None,
        };
        let child = Child::start(&spec).await.unwrap();
        let url = format!("mysql://root@localhost/echo?socket={}", self.folder.join("run/mysql.sock").display());
        loop {
            assert_eq!(child.exit_status(), None, "{}", child.last_lines());
            match Server::external(&url).await {
                Ok(server) => return (child, server.database("echo").await.unwrap()),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Load on the queue, until at least so many changes were not synced at once; then the server is killed. No file
    /// comes or goes meanwhile.
    async fn load(&self, options: &[&str], least: usize, told: &Shared) -> Journal {
        let (server, pool) = self.start(options).await;
        let queues = Queues::new(pool, vec![q(600)]);
        let before = files(&self.data());
        let mut users = JoinSet::new();
        for _ in 0..4 {
            users.spawn(send(queues.clone(), Arc::clone(told)));
            users.spawn(take(queues.clone(), Arc::clone(told)));
        }
        sleep(LOAD).await;
        let enough = async {
            while Journal::read(&self.journal()).most() < least || told.lock().unwrap().deleted.len() < MANY {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(60), enough).await.expect("enough under way");
        server.kill().await;
        users.shutdown().await;
        assert_eq!(files(&self.data()), before);
        Journal::read(&self.journal())
    }

    /// What the queue holds after a restart.
    async fn live(&self) -> Result<BTreeSet<String>, MySqlError> {
        let server = self.recover().await?;
        let pool = server.database("echo").await?;
        let sql = "SELECT payload FROM message_queue WHERE status <> 'DONE'";
        let live: Vec<String> = sqlx::query_scalar(sql).fetch_all(&pool).await?;
        server.stop().await;
        Ok(live.into_iter().collect())
    }
}

/// What the queue's users were told, and how long the journal was then. Messages are known by their bodies: all differ.
struct Told {
    journal: PathBuf,
    bodies: u64,
    sent: BTreeMap<String, u64>,
    /// Whoever asked for it may not have lived to see the answer.
    deleting: BTreeMap<String, u64>,
    deleted: BTreeMap<String, u64>,
}

type Shared = Arc<Mutex<Told>>;

/// What became of it.
#[derive(Debug)]
struct Outcome {
    sent: usize,
    deleted: usize,
    /// Sent, not deleted, and not there.
    lost: usize,
    /// Deleted, and there.
    back: usize,
}

impl Told {
    fn new(machine: &Machine) -> Shared {
        let (sent, deleting, deleted) = Default::default();
        Arc::new(Mutex::new(Self { journal: machine.journal(), bodies: 0, sent, deleting, deleted }))
    }

    /// Bodies of many lengths.
    fn bodies(&mut self) -> Vec<String> {
        let first = self.bodies;
        self.bodies += 10;
        (first..self.bodies).map(|n| format!("{n}:{}", "x".repeat(n as usize * 37 % 1500))).collect()
    }

    fn now(&self) -> u64 {
        std::fs::metadata(&self.journal).unwrap().len()
    }

    fn sent(&mut self, bodies: Vec<String>) {
        let now = self.now();
        self.sent.extend(bodies.into_iter().map(|body| (body, now)));
    }

    fn deleting(&mut self, bodies: &[String]) {
        let now = self.now();
        self.deleting.extend(bodies.iter().map(|body| (body.clone(), now)));
    }

    fn deleted(&mut self, bodies: Vec<String>) {
        let now = self.now();
        self.deleted.extend(bodies.into_iter().map(|body| (body, now)));
    }

    /// Of what was told before `moment`.
    fn outcome(&self, moment: u64, live: &BTreeSet<String>) -> Outcome {
        let before = |told: &BTreeMap<String, u64>| -> BTreeSet<String> {
            told.iter().filter(|(_, at)| **at <= moment).map(|(body, _)| body.clone()).collect()
        };
        let (sent, deleting, deleted) = (before(&self.sent), before(&self.deleting), before(&self.deleted));
        let lost = sent.iter().filter(|body| !deleting.contains(*body) && !live.contains(*body)).count();
        let back = deleted.intersection(live).count();
        Outcome { sent: sent.len(), deleted: deleted.len(), lost, back }
    }

    /// After a restart all there is to know is what is there.
    fn restart(&mut self, live: BTreeSet<String>) {
        self.sent = live.into_iter().map(|body| (body, 0)).collect();
        self.deleting.clear();
        self.deleted.clear();
    }
}

/// Sends until it is aborted.
async fn send(queues: Queues, told: Shared) {
    loop {
        let bodies = told.lock().unwrap().bodies();
        let messages: Vec<_> = bodies.iter().map(|body| Outgoing { body: body.clone(), delay: None }).collect();
        match queues.send("q", &messages).await {
            Ok(_) => told.lock().unwrap().sent(bodies),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Receives, and deletes every other message, until it is aborted. The others stay hidden.
async fn take(queues: Queues, told: Shared) {
    loop {
        let wanted = Receive { wait: Duration::from_secs(1), ..Receive::up_to(10) };
        let messages = queues.receive("q", wanted).await.unwrap_or_default();
        let (receipts, bodies): (Vec<_>, Vec<_>) =
            messages.into_iter().step_by(2).map(|message| (message.receipt, message.body)).unzip();
        told.lock().unwrap().deleting(&bodies);
        match queues.delete("q", &receipts).await {
            Ok(deleted) if deleted == receipts.len() as u64 => told.lock().unwrap().deleted(bodies),
            _ => sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Load, a power failure that leaves half of what was not synced if there is a seed, and a restart.
async fn round(machine: &Machine, told: &Shared, options: &[&str], least: usize, seed: Option<u64>) -> Outcome {
    let journal = machine.load(options, least, told).await;
    let moment = journal.bad_moment();
    match seed {
        None => journal.fail(&machine.data(), moment, nothing),
        Some(seed) => journal.fail(&machine.data(), moment, half(seed)),
    }
    let live = machine.live().await.unwrap();
    let mut told = told.lock().unwrap();
    let outcome = told.outcome(moment, &live);
    told.restart(live);
    outcome
}

/// Whether all that was not synced is gone or any half of it, sector by sector: what was acknowledged holds. With
/// commits that are synced once a second it does not; so this test sees what is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_failure_takes_nothing_that_was_acknowledged() {
    let machine = Machine::new("power").await;
    let told = Told::new(&machine);
    let rounds = [(&[][..], 1, None), (&BUSY, MANY, None), (&BUSY, MANY, Some(1)), (&BUSY, MANY, Some(2))];
    for (options, least, seed) in rounds {
        let outcome = round(&machine, &told, options, least, seed).await;
        assert!(outcome.sent > 0 && outcome.deleted > 0, "{outcome:?}");
        assert_eq!((outcome.lost, outcome.back), (0, 0), "{options:?} {seed:?}: {outcome:?}");
    }
    let outcome = round(&machine, &told, &["--innodb-flush-log-at-trx-commit=2"], MANY, None).await;
    assert!(outcome.lost > 0 && outcome.back > 0, "{outcome:?}");
}

/// Pages that are written once alone are torn for good; so the test above tears pages.
#[tokio::test(flavor = "multi_thread")]
async fn without_double_writes_a_power_failure_tears_pages() {
    let machine = Machine::new("power-torn").await;
    let journal = machine.load(&["--innodb-doublewrite=0", BUSY[0], BUSY[1]], MANY, &Told::new(&machine)).await;
    journal.fail(&machine.data(), journal.bad_moment(), half(1));
    let torn = machine.live().await.map(|live| live.len()).unwrap_err();
    assert!(torn.to_string().contains("corrupt"), "{torn}");
}

/// With every change undone, synced or not, the files are what they were: no write went past the shim.
#[tokio::test(flavor = "multi_thread")]
async fn the_model_of_a_power_failure_misses_no_write() {
    let machine = Machine::new("power-model").await;
    let read = |(inode, path): (u64, PathBuf)| (inode, std::fs::read(path).unwrap());
    let before: Vec<_> = files(&machine.data()).into_iter().map(read).collect();
    let journal = machine.load(&BUSY, MANY, &Told::new(&machine)).await;
    journal.fail(&machine.data(), 0, nothing);
    let after = files(&machine.data());
    for (inode, bytes) in before {
        let path = &after[&inode];
        assert!(std::fs::read(path).unwrap() == bytes, "{}", path.display());
    }
}
