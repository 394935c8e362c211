//! Starts, speed and size.
//!
//! A start is one process: from its spawn to its first question for an event, and on to its first answer, with every
//! new connection to a service held back as a far one would be. Each is measured next to one of the bare function, so
//! that a busy moment of the machine falls on both. Then one process works through events as fast as it can; login's
//! also signs people in, which takes memory.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::instance::Instance;
use super::lab::{FLOOR, Lab};
use super::limits::{Gated, Limits};
use super::report::{percentile, round, say};
use super::sign_in::sign_in;
use super::{Findings, events, usage};
use crate::Failure;
use crate::show::table;

/// In place of the TCP and TLS handshakes that loopback lacks.
const CONNECTION: Duration = Duration::from_millis(30);
/// Before each start: the servers finish what the last one left them to do.
const CALM: Duration = Duration::from_millis(50);
const SAMPLES: usize = 15;
/// Events before those that are counted: caches and connections are there then.
const WARM_UP: usize = 10;
/// Events that are counted, per sample.
const EVENTS_PER_SAMPLE: usize = 34;
/// At least enough that a cache renewed by time hardly shows among the round trips.
const MIN_EVENTS: usize = 100;
const MAX_EVENTS: usize = 500;
/// The function that people sign in with, and how often they do.
const LOGIN: &str = "login";
const SIGN_INS: usize = 10;

/// What to measure, and what to do with it.
#[derive(Args)]
pub struct Options {
    /// Only this function
    #[arg(long)]
    function: Option<String>,
    /// Starts per function
    #[arg(long, default_value_t = SAMPLES, value_parser = samples)]
    samples: usize,
    /// Fail when a binary or a number of round trips has grown over docs/benchmarks/limits.json
    #[arg(long)]
    check: bool,
    /// Write what was measured to docs/benchmarks/limits.json
    #[arg(long, conflicts_with = "check")]
    write_limits: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { function: None, samples: SAMPLES, check: false, write_limits: false }
    }
}

/// Beyond a thousand, nothing is learnt and hours pass.
fn samples(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|samples| (1..=1_000).contains(samples)).ok_or_else(|| "give 1 to 1000".into())
}

/// What was measured of one function.
#[derive(Default)]
struct Figures {
    gated: Gated,
    start: Start,
    floor: Start,
    /// The median of the pairs' ratios: a slow moment of the machine falls on both of a pair.
    init_ratio: f64,
    warm_p50_ms: f64,
    warm_p99_ms: f64,
    per_s_core: f64,
    rss_mb: f64,
    /// The most memory after sign-ins; of login.
    sign_in_rss_mb: Option<f64>,
}

/// One start, or the medians of several.
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    init_ms: f64,
    first_useful_ms: f64,
    connections: f64,
}

/// Measures, and holds the figures against the committed ones where asked to.
pub async fn run(options: &Options, root: &Path, lab: &mut Lab, found: &mut Findings) -> Result<(), Failure> {
    let names = match &options.function {
        Some(name) => vec![lab.function(name)?.spec.name.clone()],
        None => lab.names(),
    };
    let mut measured = Vec::new();
    for name in &names {
        say(&format!("measuring {name}"));
        measured.push(measure(lab, name, options.samples).await?);
    }
    let gated: Vec<Gated> = measured.iter().map(|figures| figures.gated.clone()).collect();
    if options.write_limits {
        Limits::write(root, &gated)?;
    }
    if options.check {
        found.objections = Limits::read(root)?.objections(&gated);
    }
    let hello = hello(lab, options.samples, &measured).await?;
    found.json.insert(FLOOR.into(), hello.json());
    let functions: Map<String, Value> =
        measured.iter().map(|figures| (figures.gated.name.clone(), figures.json())).collect();
    found.json.insert("functions".into(), Value::Object(functions));
    found.tables.push(table(&HEADER, &measured.iter().chain([&hello]).map(Figures::row).collect::<Vec<_>>()));
    let sign_ins = measured.iter().filter_map(Figures::sign_in_row).collect::<Vec<_>>();
    if !sign_ins.is_empty() {
        found.tables.push(table(&["AFTER SIGN-INS", "RSS MB", "TRIPS PER SIGN-IN"], &sign_ins));
    }
    Ok(())
}

/// The bare function by itself: its starts are those beside the others'.
async fn hello(lab: &mut Lab, samples: usize, beside: &[Figures]) -> Result<Figures, Failure> {
    say(&format!("measuring {FLOOR}"));
    let mut figures = warm(lab, FLOOR, number_of_events(samples)).await?;
    figures.floor = Start::median(&beside.iter().map(|figures| figures.floor).collect::<Vec<_>>());
    (figures.start, figures.init_ratio) = (figures.floor, 1.0);
    figures.gated.binary_mb = binary_mb(lab, FLOOR)?;
    Ok(figures)
}

fn number_of_events(samples: usize) -> usize {
    (samples * EVENTS_PER_SAMPLE).clamp(MIN_EVENTS, MAX_EVENTS)
}

fn binary_mb(lab: &Lab, name: &str) -> Result<f64, Failure> {
    Ok(round(std::fs::metadata(&lab.function(name)?.program)?.len() as f64 / 1e6, 2))
}

async fn measure(lab: &mut Lab, name: &str, samples: usize) -> Result<Figures, Failure> {
    let (mut starts, mut floors) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        // Turn about: what comes second finds the machine as the first has left it.
        if sample % 2 == 0 {
            floors.push(start(lab, FLOOR).await?);
            starts.push(start(lab, name).await?);
        } else {
            starts.push(start(lab, name).await?);
            floors.push(start(lab, FLOOR).await?);
        }
    }
    let mut figures = warm(lab, name, number_of_events(samples)).await?;
    figures.start = Start::median(&starts);
    figures.floor = Start::median(&floors);
    let ratio = |(start, floor): (&Start, &Start)| start.init_ms / floor.init_ms.max(f64::MIN_POSITIVE);
    figures.init_ratio = percentile(&starts.iter().zip(&floors).map(ratio).collect::<Vec<_>>(), 0.5);
    figures.gated.binary_mb = binary_mb(lab, name)?;
    Ok(figures)
}

/// One process, started with an event waiting for it.
async fn start(lab: &mut Lab, name: &str) -> Result<Start, Failure> {
    let event = lab.useful(name).await?;
    tokio::time::sleep(CALM).await;
    lab.take();
    lab.delay_connections(CONNECTION);
    let mut instance = lab.launch(name, Some(event)).await?;
    let init = instance.init().await?;
    let answer = instance.answer().await?;
    events::check(name, &answer.body)?;
    instance.stop().await;
    lab.delay_connections(Duration::ZERO);
    let connections = lab.take().connections as f64;
    Ok(Start { init_ms: ms(init), first_useful_ms: ms(answer.since_start), connections })
}

/// One process, one event after the other. Events are made beforehand: their tokens come from login.
async fn warm(lab: &mut Lab, name: &str, count: usize) -> Result<Figures, Failure> {
    let mut instance = lab.launch(name, None).await?;
    for _ in 0..WARM_UP {
        work(lab, name, &mut instance).await?;
    }
    let mut prepared = Vec::with_capacity(count);
    let token = lab.token().await?;
    for _ in 0..count {
        prepared.push(lab.events.useful(name, &token)?);
    }
    lab.take();
    let before = usage::cpu_seconds(instance.pid())?;
    let mut took = Vec::with_capacity(count);
    for event in prepared {
        let answer = instance.invoke(event).await?;
        events::check(name, &answer.body)?;
        took.push(ms(answer.took));
    }
    let cpu = usage::cpu_seconds(instance.pid())? - before;
    let mut figures = Figures {
        gated: Gated {
            name: name.to_owned(),
            round_trips: round(lab.take().calls.len() as f64 / count as f64, 1),
            ..Gated::default()
        },
        warm_p50_ms: percentile(&took, 0.5),
        warm_p99_ms: percentile(&took, 0.99),
        per_s_core: if cpu > 0.0 { count as f64 / cpu } else { 0.0 },
        rss_mb: usage::peak_memory_mb(instance.pid())?,
        ..Figures::default()
    };
    if name == LOGIN {
        sign_in(&lab.events, &mut instance).await?;
        lab.take();
        for _ in 0..SIGN_INS {
            sign_in(&lab.events, &mut instance).await?;
        }
        // Whole ones: keys that are read again every five minutes must not show.
        figures.gated.sign_in_round_trips = Some(round(lab.take().calls.len() as f64 / SIGN_INS as f64, 0));
        figures.sign_in_rss_mb = Some(usage::peak_memory_mb(instance.pid())?);
    }
    instance.stop().await;
    Ok(figures)
}

async fn work(lab: &mut Lab, name: &str, instance: &mut Instance) -> Result<(), Failure> {
    let event = lab.useful(name).await?;
    events::check(name, &instance.invoke(event).await?.body)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

impl Start {
    fn median(starts: &[Self]) -> Self {
        let median = |of: fn(&Self) -> f64| percentile(&starts.iter().map(of).collect::<Vec<_>>(), 0.5);
        Self {
            init_ms: median(|start| start.init_ms),
            first_useful_ms: median(|start| start.first_useful_ms),
            connections: median(|start| start.connections),
        }
    }
}

const HEADER: [&str; 13] = [
    "FUNCTION",
    "INIT ms",
    "HELLO",
    "RATIO",
    "USEFUL ms",
    "HELLO",
    "CONN",
    "P50 ms",
    "P99 ms",
    "PER S CORE",
    "RSS MB",
    "BINARY MB",
    "TRIPS",
];

impl Figures {
    fn row(&self) -> Vec<String> {
        let (start, floor) = (&self.start, &self.floor);
        vec![
            self.gated.name.clone(),
            format!("{:.1}", start.init_ms),
            format!("{:.1}", floor.init_ms),
            format!("{:.2}", self.init_ratio),
            format!("{:.1}", start.first_useful_ms),
            format!("{:.1}", floor.first_useful_ms),
            format!("{:.0}", start.connections),
            format!("{:.2}", self.warm_p50_ms),
            format!("{:.2}", self.warm_p99_ms),
            format!("{:.0}", self.per_s_core),
            format!("{:.1}", self.rss_mb),
            format!("{:.2}", self.gated.binary_mb),
            self.gated.round_trips.to_string(),
        ]
    }

    fn sign_in_row(&self) -> Option<Vec<String>> {
        let (memory, trips) = (self.sign_in_rss_mb?, self.gated.sign_in_round_trips?);
        Some(vec![self.gated.name.clone(), format!("{memory:.1}"), trips.to_string()])
    }

    fn json(&self) -> Value {
        json!({
            "init_ms": round(self.start.init_ms, 2),
            "hello_init_ms": round(self.floor.init_ms, 2),
            "init_ratio": round(self.init_ratio, 2),
            "first_useful_ms": round(self.start.first_useful_ms, 2),
            "hello_first_useful_ms": round(self.floor.first_useful_ms, 2),
            "connections": self.start.connections,
            "warm_p50_ms": round(self.warm_p50_ms, 2),
            "warm_p99_ms": round(self.warm_p99_ms, 2),
            "per_s_core": round(self.per_s_core, 0),
            "rss_mb": round(self.rss_mb, 1),
            "binary_mb": self.gated.binary_mb,
            "round_trips": self.gated.round_trips,
            "sign_in_rss_mb": self.sign_in_rss_mb.map(|memory| round(memory, 1)),
            "sign_in_round_trips": self.gated.sign_in_round_trips,
        })
    }
}
