//! Made-up log lines: the same in every run, 250 to 600 bytes each (see [`super::raw`]), and as varied as real ones, so
//! that they compress no better.
//!
//! A shop of twelve services works on some requests at a time. Each request is a trace of [`LINES`] lines, milliseconds
//! apart and among the lines of others: access lines of two of its front doors, lines of an application, and lines of
//! another application or a worker, each service under a span of its own. Of a thousand lines of an application a dozen
//! are stack traces. Users, orders, addresses, paths and durations are skewed: few of them are frequent, most are rare.

mod access;
mod application;
mod crash;
mod job;

use echo_shared::log::line::Severity;
use echo_shared::log::posting::TraceId;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::draw::{Draw, mix};
use super::otlp::any;
use super::raw;

/// Lines of a trace.
pub const LINES: usize = 10;
/// Which of its services writes which line of a trace.
const HOPS: [usize; LINES] = [1, 2, 2, 3, 3, 3, 2, 2, 1, 0];
/// Requests that are worked on at the same time.
const OPEN: usize = 4;
/// Users, some of whom come often.
const USERS: u64 = 50_000;
/// Lines come in bursts: of a hundred steps so many are pauses.
const PAUSES: u64 = 10;
/// Of a thousand lines of an application, so many are stack traces.
const CRASHES: u64 = 12;

/// What a service is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Java.
    Java,
    /// Python.
    Python,
    /// Rust.
    Rust,
}

/// What a service writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Application,
    Job,
}

/// A service.
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// What it is written in.
    pub language: Language,
    kind: Kind,
}

const fn service(name: &'static str, kind: Kind, language: Language) -> Service {
    Service { name, language, kind }
}

/// All services: front doors, applications, workers.
pub const SERVICES: [Service; 12] = [
    service("edge", Kind::Access, Language::Rust),
    service("storefront", Kind::Access, Language::Java),
    service("gateway", Kind::Access, Language::Rust),
    service("checkout", Kind::Application, Language::Java),
    service("catalog", Kind::Application, Language::Java),
    service("accounts", Kind::Application, Language::Rust),
    service("search", Kind::Application, Language::Python),
    service("billing", Kind::Application, Language::Java),
    service("shipping", Kind::Application, Language::Python),
    service("media-worker", Kind::Job, Language::Python),
    service("mail-worker", Kind::Job, Language::Rust),
    service("report-worker", Kind::Job, Language::Java),
];
/// Where in [`SERVICES`] the kinds begin, and how many there are.
const DOORS: (usize, u64) = (1, 2);
const APPLICATIONS: (usize, u64) = (3, 6);
const WORKERS: (usize, u64) = (9, 3);

/// A line.
pub struct Made {
    /// Which of [`SERVICES`] wrote it.
    pub from: usize,
    /// The line.
    pub record: LogRecord,
    /// Its raw size in bytes.
    pub raw: usize,
}

fn name(from: usize) -> &'static str {
    SERVICES.get(from).map_or("", |service| service.name)
}

/// A request that is worked on, and what its lines have in common.
struct Trace {
    id: TraceId,
    spans: [[u8; 8]; 4],
    services: [usize; 4],
    user: u64,
    order: u64,
    written: usize,
}

impl Trace {
    fn new(draw: &mut Draw) -> Self {
        let one_of = |draw: &mut Draw, (first, count): (usize, u64)| first + index(draw.skewed(count));
        let last = if draw.percent(60) { APPLICATIONS } else { WORKERS };
        Self {
            id: draw.bytes(),
            spans: [draw.bytes(), draw.bytes(), draw.bytes(), draw.bytes()],
            services: [0, one_of(draw, DOORS), one_of(draw, APPLICATIONS), one_of(draw, last)],
            user: draw.skewed(USERS),
            order: draw.number(),
            written: 0,
        }
    }

    /// The user's name in lines: always the same for the same user.
    fn user_id(&self) -> String {
        format!("usr_{:012x}", mix(self.user) >> 16)
    }

    fn order_id(&self) -> String {
        format!("ord_{:016x}", self.order)
    }
}

/// What a service has to say.
struct Content {
    severity: Severity,
    body: Value,
    attributes: Vec<KeyValue>,
}

/// Makes lines, one after the other.
pub struct Lines {
    draw: Draw,
    now: u64,
    pace: u64,
    open: Vec<Trace>,
    finished: Vec<TraceId>,
}

impl Lines {
    /// Lines from the time `begin` on, one every `pace` on average; both in nanoseconds.
    pub fn new(seed: u64, begin: u64, pace: u64) -> Self {
        let mut draw = Draw::new(seed);
        let open = (0..OPEN).map(|_| Trace::new(&mut draw)).collect();
        Self { draw, now: begin, pace, open, finished: Vec::new() }
    }

    /// The next line.
    pub fn line(&mut self) -> Made {
        self.now += step(&mut self.draw, self.pace);
        let turn = index(self.draw.below(self.open.len() as u64));
        self.open.rotate_left(turn);
        let mut trace = self.open.pop().unwrap_or_else(|| Trace::new(&mut self.draw));
        let made = write(&mut self.draw, &trace, self.now);
        trace.written += 1;
        if trace.written == LINES {
            self.finished.push(trace.id);
            trace = Trace::new(&mut self.draw);
        }
        self.open.push(trace);
        made
    }

    /// The traces that have all of their lines.
    pub fn finished(self) -> Vec<TraceId> {
        self.finished
    }
}

/// Mostly short, sometimes a pause; `pace` on average.
fn step(draw: &mut Draw, pace: u64) -> u64 {
    let mean = if draw.percent(PAUSES) { pace * 91 / 10 } else { pace / 10 };
    draw.below(2 * mean)
}

fn write(draw: &mut Draw, trace: &Trace, now: u64) -> Made {
    let hop = HOPS.get(trace.written).copied().unwrap_or_default();
    let from = trace.services.get(hop).copied().unwrap_or_default();
    let span = trace.spans.get(hop).copied().unwrap_or_default();
    let Content { severity, body, attributes } = content(draw, trace, from, now);
    let record = LogRecord {
        time_unix_nano: now,
        // What an exporter needs to see it.
        observed_time_unix_nano: now + 20_000 + draw.skewed(900_000),
        severity_number: severity.number(),
        severity_text: severity.name().into(),
        body: Some(any(body)),
        attributes,
        flags: 1,
        trace_id: trace.id.into(),
        span_id: span.into(),
        ..Default::default()
    };
    let raw = raw::length(name(from), &record);
    Made { from, record, raw }
}

fn content(draw: &mut Draw, trace: &Trace, from: usize, now: u64) -> Content {
    let Some(service) = SERVICES.get(from) else { return job::content(draw, trace, "") };
    match service.kind {
        Kind::Access => access::content(draw, trace, now),
        Kind::Application if draw.below(1_000) < CRASHES => crash::content(draw, trace, service.language),
        Kind::Application => application::content(draw, trace, service.name),
        Kind::Job => job::content(draw, trace, service.name),
    }
}

/// Milliseconds that something took: mostly few, seldom seconds.
fn duration_ms(draw: &mut Draw) -> u64 {
    let usual = 1 + draw.skewed(400);
    if draw.percent(3) { usual + draw.below(5_000) } else { usual }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use echo_shared::log::line::Severity;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::{LINES, Lines, Made};

    const BEGIN: u64 = 1_769_860_800_000_000_000;
    const PACE: u64 = 5_000_000;

    fn made(count: usize) -> (Vec<Made>, Lines) {
        let mut lines = Lines::new(1, BEGIN, PACE);
        ((0..count).map(|_| lines.line()).collect(), lines)
    }

    #[test]
    fn lines_are_the_same_in_every_run() {
        let records = || made(500).0.into_iter().map(|made| made.record).collect::<Vec<_>>();
        assert_eq!(records(), records());
    }

    #[test]
    fn each_line_has_250_to_600_bytes_and_the_mean_is_about_400() {
        let lines = made(50_000).0;
        for made in &lines {
            assert!((250..=600).contains(&made.raw), "{} bytes: {:?}", made.raw, made.record);
        }
        let mean = lines.iter().map(|made| made.raw).sum::<usize>() / lines.len();
        assert!((370..=450).contains(&mean), "{mean}");
    }

    #[test]
    fn a_trace_has_ten_lines_of_several_services_among_those_of_others() {
        let (lines, rest) = made(20_000);
        let mut traces = BTreeMap::<Vec<u8>, Vec<usize>>::new();
        for (place, made) in lines.iter().enumerate() {
            traces.entry(made.record.trace_id.clone()).or_default().push(place);
        }
        let finished = rest.finished();
        assert!(finished.len() > 1_900);
        for id in &finished {
            let places = &traces[&id.to_vec()];
            assert_eq!(places.len(), LINES);
            let services: BTreeSet<_> = places.iter().map(|place| lines[*place].from).collect();
            assert!(services.len() >= 3);
        }
        assert!(lines.windows(2).filter(|pair| pair[0].record.trace_id != pair[1].record.trace_id).count() > 10_000);
    }

    #[test]
    fn lines_come_in_the_order_of_time_and_at_their_pace() {
        let lines = made(100_000).0;
        assert!(lines.is_sorted_by_key(|made| made.record.time_unix_nano));
        let took = lines.last().unwrap().record.time_unix_nano - BEGIN;
        let pace = took / lines.len() as u64;
        assert!((PACE * 95 / 100..PACE * 105 / 100).contains(&pace), "{pace}");
    }

    #[test]
    fn there_are_lines_of_every_kind() {
        let lines = made(50_000).0;
        let text = |made: &Made| match made.record.body.as_ref().unwrap().value.as_ref().unwrap() {
            Value::StringValue(text) => text.clone(),
            _ => String::new(),
        };
        let share =
            |found: &dyn Fn(&Made) -> bool| lines.iter().filter(|made| found(made)).count() * 1_000 / lines.len();
        assert!((250..350).contains(&share(&|made| text(made).contains(" HTTP/1.1\" "))));
        assert!((80..200).contains(&share(&|made| text(made).starts_with("job="))));
        assert!((100..500).contains(&share(&|made| text(made).is_empty())), "structured bodies");
        assert!((3..12).contains(&share(&|made| text(made).contains('\n'))), "stack traces");
        let errors = share(&|made| Severity::of(made.record.severity_number) >= Severity::Error);
        assert!((5..60).contains(&errors), "{errors}");
        assert_eq!(lines.iter().map(|made| made.from).collect::<BTreeSet<_>>().len(), 12);
    }
}
