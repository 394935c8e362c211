//! Echo's own log lines, into its log store.
//!
//! Functions write JSON lines. [`Forwarder`] makes OTLP records of them, packs them as ingest does, and sends the
//! blocks to the queue that log-consume reads. It never holds up who writes: lines that cannot be taken are dropped, and
//! a line of its own says how many.

mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use echo_shared::clock::Clock;
use echo_shared::config::{ConfigError, Env};
use echo_shared::event::{Envelope, log};
use echo_shared::log::block;
use echo_shared::log::line::lines;
use echo_shared::log::settings::Settings;
use ingest::Redactor;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::process::Listener;
use crate::queue::{Outgoing, Queues};
use crate::spec::{FunctionSpec, Stack};
use record::{Entry, Unreadable};

/// The function that stores lines.
const STORE: &str = "log-consume";
/// How log lines begin. Cargo's lines, panics and metrics begin otherwise.
const BEGINNING: &str = r#"{"timestamp""#;
/// The longest line, in bytes.
const MAX_LINE: usize = 32 * 1024;
/// Lines that may wait.
const MAX_WAITING: usize = 10_000;
/// Lines that are sent at once, and how long the first of them waits.
const BATCH: usize = 500;
const WINDOW: Duration = Duration::from_secs(1);
/// How long sending what is left may take, and how long nothing comes when nothing is left.
const LAST_WORDS: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_millis(100);

/// Brings lines into the log store. Dropping it loses those that wait.
pub struct Forwarder {
    intake: Intake,
    stop: watch::Sender<bool>,
    // Aborted when dropped.
    task: JoinSet<()>,
}

/// Where lines enter.
#[derive(Clone)]
struct Intake {
    lines: mpsc::Sender<String>,
    dropped: Arc<AtomicU64>,
}

/// Where they leave.
struct Outlet {
    lines: mpsc::Receiver<String>,
    dropped: Arc<AtomicU64>,
    queues: Queues,
    queue: String,
    settings: Settings,
    redactor: Redactor,
    clock: Clock,
}

impl Forwarder {
    /// Starts one, unless the stack has no log store.
    ///
    /// # Errors
    /// When the log store's settings cannot be read.
    pub fn start(stack: &Stack, queues: Queues, clock: Clock) -> Result<Option<Self>, ConfigError> {
        let mapping = stack.mappings.iter().find(|mapping| mapping.function == STORE);
        let (Some(function), Some(mapping)) = (stack.functions.get(STORE), mapping) else { return Ok(None) };
        let (settings, queue) = (settings(function)?, mapping.queue.clone());
        let (sender, lines) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let intake = Intake { lines: sender, dropped: Arc::clone(&dropped) };
        let outlet = Outlet { lines, dropped, queues, queue, settings, redactor: Redactor::new(), clock };
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(outlet.run(stopped));
        Ok(Some(Self { intake, stop, task }))
    }

    /// What is to be told every line.
    pub fn listener(&self) -> Listener {
        let intake = self.intake.clone();
        Arc::new(move |line: &str| intake.hear(line))
    }

    /// Sends what waits, for at most two seconds. Call it when nobody writes any more and the queue still works.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let finish = async { while self.task.join_next().await.is_some() {} };
        let _ = timeout(LAST_WORDS, finish).await;
    }
}

/// What orgs want of the log store, as the function that stores lines is told.
fn settings(function: &FunctionSpec) -> Result<Settings, ConfigError> {
    Env::from_fn(|name| function.environment.get(name).cloned()).read(Settings::read)
}

impl Intake {
    /// Takes a line or drops it; never waits.
    fn hear(&self, line: &str) {
        if !line.starts_with(BEGINNING) {
            return;
        }
        if line.len() > MAX_LINE || self.lines.try_send(line.to_owned()).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Outlet {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut lines = Vec::with_capacity(BATCH);
        let mut window = interval(WINDOW);
        window.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = BATCH - lines.len();
            let over = tokio::select! {
                _ = self.lines.recv_many(&mut lines, room) => false,
                _ = window.tick() => true,
                _ = stopped.wait_for(|stop| *stop) => break,
            };
            if over || lines.len() >= BATCH {
                self.send(&mut lines).await;
            }
        }
        // What was written last may still be on its way.
        while let Ok(1..) = timeout(SILENCE, self.lines.recv_many(&mut lines, MAX_WAITING)).await {}
        self.send(&mut lines).await;
    }

    /// Sends lines, and how many were dropped. Those that are not sent are dropped, too.
    async fn send(&self, lines: &mut Vec<String>) {
        let (mut entries, unreadable) = read(lines);
        let (now, count) = (self.clock.now(), entries.len());
        let dropped = self.dropped.swap(0, Relaxed) + unreadable;
        entries.extend((dropped > 0).then(|| Entry::of_dropped(dropped, now)));
        if entries.is_empty() {
            return;
        }
        let (messages, rejected) = pack(entries, &self.settings, &self.redactor, now);
        let lost = match self.queues.send(&self.queue, &messages).await {
            Ok(results) => {
                let refused = messages.iter().zip(results).filter(|(_, result)| result.is_err());
                rejected as u64 + refused.map(|(message, _)| lines_in(message)).sum::<u64>()
            }
            // Told of with the next ones.
            Err(_) => dropped + count as u64,
        };
        self.dropped.fetch_add(lost, Relaxed);
    }
}

/// Reads lines; also tells how many cannot be read.
fn read(lines: &mut Vec<String>) -> (Vec<Entry>, u64) {
    let (mut entries, mut unreadable) = (Vec::new(), 0);
    for line in lines.drain(..) {
        match Entry::read(&line) {
            Ok(entry) => entries.extend(entry),
            Err(Unreadable) => unreadable += 1,
        }
    }
    (entries, unreadable)
}

/// How many lines a message of ours holds.
fn lines_in(message: &Outgoing) -> u64 {
    let event = Envelope::parse(&message.body).ok();
    let block = event.and_then(|event| log::Packed::parse(event.data).ok()?.block().ok());
    let logs = block.and_then(|block| block::read(&block.unpack().ok()?).ok());
    logs.map_or(0, |logs| lines(&logs).count() as u64)
}

/// Packs entries, those of each org and function together; also tells how many cannot be stored.
fn pack(entries: Vec<Entry>, settings: &Settings, redactor: &Redactor, now: OffsetDateTime) -> (Vec<Outgoing>, usize) {
    let mut groups = BTreeMap::<(String, String), Vec<LogRecord>>::new();
    for Entry { org, function, record } in entries {
        groups.entry((org, function)).or_default().push(record);
    }
    let (mut messages, mut rejected) = (Vec::new(), 0);
    for ((org, function), records) in groups {
        let (count, source) = (records.len(), format!("/local/{function}"));
        let sender = ingest::Sender { org: &org, source: &source, settings: settings.of(&org), redactor, now };
        match ingest::pack(vec![record::of_function(function, records)], &sender) {
            Ok(packed) => {
                rejected += packed.rejected;
                let bodies = packed.events.iter().map(Envelope::to_body);
                messages.extend(bodies.map(|body| Outgoing { body, delay: None }));
            }
            Err(_) => rejected += count,
        }
    }
    (messages, rejected)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    use echo_shared::event::Envelope;
    use echo_shared::log::settings::Settings;
    use ingest::Redactor;
    use serde_json::json;
    use time::macros::datetime;
    use tokio::sync::mpsc;

    use super::record::Entry;
    use super::{Intake, MAX_LINE, lines_in, pack, read, settings};
    use crate::spec::FunctionSpec;

    #[test]
    fn what_cannot_be_taken_is_counted() {
        let (lines, mut taken) = mpsc::channel(1);
        let intake = Intake { lines, dropped: Arc::default() };
        let dropped = || intake.dropped.load(Relaxed);
        let line = |number: u8| format!(r#"{{"timestamp":{number}}}"#);
        for other in ["   Compiling login v0.1.0", r#"{"_aws": {}}"#, &"x".repeat(MAX_LINE + 1)] {
            intake.hear(other);
        }
        assert_eq!(dropped(), 0, "what is no log line is not missed");
        intake.hear(&format!("{}{}", line(0), "x".repeat(MAX_LINE)));
        assert_eq!(dropped(), 1, "too long");
        intake.hear(&line(1));
        intake.hear(&line(2));
        assert_eq!(dropped(), 2, "no room");
        assert_eq!(taken.try_recv().unwrap(), line(1));
        intake.hear(&line(3));
        assert_eq!((taken.try_recv().unwrap(), dropped()), (line(3), 2));
        drop(taken);
        intake.hear(&line(4));
        assert_eq!(dropped(), 3, "nobody takes them");
    }

    fn line(year: u32, function: &str, org: Option<&str>) -> String {
        let timestamp = format!("{year}-01-01T00:00:00Z");
        let line = json!({"timestamp": timestamp, "level": "INFO", "message": "m", "function": function, "org": org});
        line.to_string()
    }

    fn entry(year: u32, function: &str, org: Option<&str>) -> Entry {
        Entry::read(&line(year, function, org)).unwrap().unwrap()
    }

    #[test]
    fn lines_that_cannot_be_read_are_counted_and_others_are_not() {
        let cut = line(2026, "login", None).split_off(9);
        let mut lines = vec![line(2026, "login", None), cut, line(2026, "ingest", None), "{".into()];
        let (entries, unreadable) = read(&mut lines);
        assert_eq!((entries.len(), unreadable, lines.len()), (1, 2, 0));
    }

    #[test]
    fn own_lines_are_kept_as_the_stack_says() {
        let function = |settings: &str| FunctionSpec {
            name: "log-consume".into(),
            timeout: Duration::from_secs(1),
            memory: 128,
            environment: [("LOG_SETTINGS".to_owned(), settings.to_owned())].into(),
        };
        assert_eq!(settings(&function("")).unwrap(), Settings::default());
        assert!(settings(&function("{")).unwrap_err().to_string().contains("LOG_SETTINGS"));
        let long = settings(&function(r#"{"orgs": {"acme": {"days": 3660}}}"#)).unwrap();
        for (settings, expected) in [(long, (1, 0)), (Settings::default(), (0, 1))] {
            let old = vec![entry(2020, "login", Some("acme"))];
            let (messages, rejected) = pack(old, &settings, &Redactor::new(), datetime!(2026-01-01 00:00 UTC));
            assert_eq!((messages.len(), rejected), expected);
        }
    }

    #[test]
    fn lines_are_packed_by_org_and_function() {
        let acme = Some("acme");
        let now = datetime!(2026-01-01 00:00:01 UTC);
        let entries = vec![
            entry(2026, "login", acme),
            entry(2026, "query", acme),
            entry(2026, "login", None),
            entry(2026, "login", acme),
            entry(2020, "login", acme),
            Entry::of_dropped(3, now),
        ];
        let (messages, rejected) = pack(entries, &Settings::default(), &Redactor::new(), now);
        assert_eq!(messages.iter().map(lines_in).collect::<Vec<_>>(), [1, 1, 2, 1]);
        let events = messages.iter().map(|message| Envelope::parse(&message.body).unwrap());
        let found: Vec<_> = events.map(|event| (event.org, event.source, event.event_type)).collect();
        let expected = [
            ("_system", "/local/echo-local"),
            ("_system", "/local/login"),
            ("acme", "/local/login"),
            ("acme", "/local/query"),
        ];
        assert_eq!(found, expected.map(|(org, source)| (org.to_owned(), source.to_owned(), "log".to_owned())));
        assert_eq!(rejected, 1, "too old to be kept");
    }
}
