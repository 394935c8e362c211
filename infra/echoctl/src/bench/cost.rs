//! What AWS would charge: recorded requests, the units that DynamoDB counts, and times as measured here, at list price.
//!
//! What no process here can show, because AWS does it (the event source mapping's own requests, Lambda's own log
//! lines), is added by the rules that stand at the constants below.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::instance::Answer;
use super::lab::Lab;
use super::recorder::Service;
use super::report::{round, say};
use super::sign_in::sign_in;
use super::{Findings, events, prices};
use crate::Failure;
use crate::show::table;

const SIGN_INS: usize = 20;
const TOKENS: usize = 100;
/// Each leaves an audit event; all of them are consumed.
const DECISIONS: usize = 1_000;
const RELAYS: usize = 20;
const MILLION: f64 = 1e6;
/// The audit entries that other activities are charged with: the dearer ones.
const ENTRY: &str = "audit_entry_in_batches_of_10";

/// Lambda's own `platform.start` and `platform.report` in JSON, in bytes: an estimate.
const PLATFORM_LOG: f64 = 700.0;
/// A line of the API's access log in the template's format, in bytes: an estimate.
const ACCESS_LOG: f64 = 300.0;
/// The event source mapping receives and deletes ten messages with one request each.
const MAPPING_REQUESTS_PER_ENTRY: f64 = 2.0 / 10.0;
/// Minutes in a month of 730 hours.
const MINUTES: f64 = 43_800.0;
/// An idle event source mapping keeps five long polls of 20 seconds open.
const IDLE_POLLS: f64 = MINUTES * 3.0 * 5.0;

/// What something uses, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usage {
    api_requests: f64,
    invocations: f64,
    billed_ms: f64,
    gb_seconds: f64,
    read_units: f64,
    write_units: f64,
    sqs_requests: f64,
    /// Audit events sent; each is consumed later, which is not part of this.
    events: f64,
    log_bytes: f64,
}

/// Dollars, by who charges them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bill {
    api_gateway: f64,
    lambda: f64,
    dynamodb: f64,
    sqs: f64,
    logs: f64,
}

/// Something that people pay for, and what one of it uses.
#[derive(Default)]
struct Activity {
    name: &'static str,
    usage: Usage,
    /// How many requests of which kind, to which tables.
    calls: BTreeMap<String, f64>,
}

/// Measures and prices.
pub async fn run(lab: &mut Lab, found: &mut Findings) -> Result<(), Failure> {
    say("counting sign-ins, tokens and decisions");
    let mut activities = vec![sign_ins(lab).await?, invocations(lab, ("token", "login"), TOKENS, true).await?];
    lab.drain().await?;
    activities.push(invocations(lab, ("decision", "authorize"), DECISIONS, true).await?);
    say("counting audit entries");
    let bodies = lab.drain().await?;
    let (tens, hundreds) = bodies.split_at(bodies.len() / 2);
    activities.push(entries(lab, ENTRY, tens, 10).await?);
    activities.push(entries(lab, "audit_entry_in_batches_of_100", hundreds, 100).await?);
    let idle = idle(invocations(lab, ("run", "relay"), RELAYS, false).await?.usage);

    found.json.insert("cost".into(), json(&activities, &idle));
    found.tables.push(used(&activities));
    found.tables.push(priced(&activities));
    found.tables.push(idle_table(&idle));
    Ok(())
}

async fn sign_ins(lab: &mut Lab) -> Result<Activity, Failure> {
    let mut login = lab.launch("login", None).await?;
    sign_in(&lab.events, &mut login).await?;
    let mut meter = Meter::start(lab, "login")?;
    for _ in 0..SIGN_INS {
        for answer in sign_in(&lab.events, &mut login).await? {
            meter.add(&answer, true);
        }
    }
    login.stop().await;
    meter.average(lab, "sign_in", SIGN_INS)
}

/// One event that the function does its ordinary work for, again and again.
async fn invocations(
    lab: &mut Lab,
    (name, function): (&'static str, &str),
    count: usize,
    over_http: bool,
) -> Result<Activity, Failure> {
    let mut instance = lab.launch(function, None).await?;
    let event = lab.useful(function).await?;
    instance.invoke(event.clone()).await?;
    let mut meter = Meter::start(lab, function)?;
    for _ in 0..count {
        let answer = instance.invoke(event.clone()).await?;
        events::check(function, &answer.body)?;
        meter.add(&answer, over_http);
    }
    instance.stop().await;
    meter.average(lab, name, count)
}

/// What came out of the queue, consumed.
async fn entries(lab: &Lab, name: &'static str, bodies: &[String], batch: usize) -> Result<Activity, Failure> {
    let function = "audit-consume";
    let mut consumer = lab.launch(function, None).await?;
    consumer.invoke(events::batch(&lab.events.audit_events(batch))).await?;
    let mut meter = Meter::start(lab, function)?;
    for bodies in bodies.chunks(batch) {
        let answer = consumer.invoke(events::batch(bodies)).await?;
        events::check(function, &answer.body)?;
        meter.add(&answer, false);
    }
    consumer.stop().await;
    let mut activity = meter.average(lab, name, bodies.len())?;
    activity.usage.sqs_requests += MAPPING_REQUESTS_PER_ENTRY;
    Ok(activity)
}

/// Adds up what a function uses.
struct Meter<'a> {
    function: &'a str,
    memory_gb: f64,
    log_before: u64,
    sum: Usage,
}

impl<'a> Meter<'a> {
    fn start(lab: &Lab, function: &'a str) -> Result<Self, Failure> {
        lab.take();
        let memory_gb = f64::from(lab.function(function)?.spec.memory) / 1024.0;
        Ok(Self { function, memory_gb, log_before: log_size(lab, function)?, sum: Usage::default() })
    }

    fn add(&mut self, answer: &Answer, over_http: bool) {
        let billed_ms = billed_ms(answer.took);
        self.sum.invocations += 1.0;
        self.sum.billed_ms += billed_ms;
        self.sum.gb_seconds += billed_ms / 1_000.0 * self.memory_gb;
        self.sum.log_bytes += PLATFORM_LOG;
        if over_http {
            self.sum.api_requests += 1.0;
            self.sum.log_bytes += ACCESS_LOG;
        }
    }

    fn average(mut self, lab: &Lab, name: &'static str, count: usize) -> Result<Activity, Failure> {
        let each = 1.0 / count.max(1) as f64;
        let mut calls = BTreeMap::new();
        for call in lab.take().calls {
            self.sum.read_units += call.read_units;
            self.sum.write_units += call.write_units;
            if call.service == Service::Sqs {
                self.sum.sqs_requests += call.bytes.div_ceil(prices::SQS_CHUNK) as f64;
                self.sum.events += 1.0;
            }
            let kind = format!("{} {}", call.action, call.tables.join("+"));
            *calls.entry(kind.trim_end().to_owned()).or_default() += each;
        }
        self.sum.log_bytes += log_size(lab, self.function)?.saturating_sub(self.log_before) as f64;
        Ok(Activity { name, usage: self.sum.times(each), calls })
    }
}

/// Lambda rounds up to whole milliseconds.
fn billed_ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 1_000.0).ceil()
}

fn log_size(lab: &Lab, function: &str) -> Result<u64, Failure> {
    Ok(std::fs::metadata(&lab.function(function)?.log)?.len())
}

impl Usage {
    fn times(self, factor: f64) -> Self {
        Self {
            api_requests: self.api_requests * factor,
            invocations: self.invocations * factor,
            billed_ms: self.billed_ms * factor,
            gb_seconds: self.gb_seconds * factor,
            read_units: self.read_units * factor,
            write_units: self.write_units * factor,
            sqs_requests: self.sqs_requests * factor,
            events: self.events * factor,
            log_bytes: self.log_bytes * factor,
        }
    }

    fn bill(self) -> Bill {
        Bill {
            api_gateway: self.api_requests * prices::API_REQUEST,
            lambda: self.invocations * prices::INVOCATION + self.gb_seconds * prices::GB_SECOND_X86_64,
            dynamodb: self.read_units * prices::READ_UNIT + self.write_units * prices::WRITE_UNIT,
            sqs: self.sqs_requests * prices::SQS_REQUEST,
            logs: self.log_bytes * prices::LOG_BYTE,
        }
    }

    fn json(self) -> Value {
        json!({
            "api_requests": round(self.api_requests, 3), "invocations": round(self.invocations, 3),
            "billed_ms": round(self.billed_ms, 3), "gb_seconds": round(self.gb_seconds, 6),
            "read_units": round(self.read_units, 3), "write_units": round(self.write_units, 3),
            "sqs_requests": round(self.sqs_requests, 3), "audit_events": round(self.events, 3),
            "log_bytes": round(self.log_bytes, 0),
        })
    }
}

impl Bill {
    fn parts(self) -> [(&'static str, f64); 5] {
        [
            ("api_gateway", self.api_gateway),
            ("lambda", self.lambda),
            ("dynamodb", self.dynamodb),
            ("sqs", self.sqs),
            ("logs", self.logs),
        ]
    }

    fn total(self) -> f64 {
        self.parts().into_iter().map(|(_, dollars)| dollars).sum()
    }

    fn json(self) -> Value {
        let parts = self.parts().into_iter().chain([("total", self.total())]);
        Value::Object(parts.map(|(name, dollars)| (name.to_owned(), json!(round(dollars, 3)))).collect())
    }
}

/// What a stack costs in a month in which nobody comes: relay's runs and the mapping's polls.
fn idle(run: Usage) -> Vec<(&'static str, f64)> {
    let month = run.times(MINUTES).bill();
    vec![
        ("relay: invocations", month.lambda),
        ("relay: reads of the empty outbox", month.dynamodb),
        ("relay: logs", month.logs),
        ("relay: scheduler", MINUTES * prices::SCHEDULED),
        // X-Ray records the first request of each second: every run.
        ("relay: traces", MINUTES * prices::TRACE),
        ("polls of the empty queue", IDLE_POLLS * prices::SQS_REQUEST),
    ]
}

/// What an activity costs together with the audit entries that it causes, in batches of ten.
fn with_audit(activities: &[Activity], usage: Usage) -> f64 {
    let entry = activities.iter().find(|activity| activity.name == ENTRY);
    usage.bill().total() + usage.events * entry.map_or(0.0, |entry| entry.usage.bill().total())
}

fn json(activities: &[Activity], idle: &[(&'static str, f64)]) -> Value {
    let each = activities.iter().map(|activity| {
        let calls = activity.calls.iter().map(|(kind, count)| (kind.clone(), json!(round(*count, 3))));
        let content = json!({
            "uses": activity.usage.json(),
            "calls": calls.collect::<Map<String, Value>>(),
            "usd_per_million": activity.usage.times(MILLION).bill().json(),
            "usd_per_million_with_audit_entries": round(with_audit(activities, activity.usage) * MILLION, 3),
        });
        (activity.name.to_owned(), content)
    });
    let idle: Map<String, Value> =
        idle.iter().map(|(name, dollars)| ((*name).to_owned(), json!(round(*dollars, 3)))).collect();
    json!({
        "activities": each.collect::<Map<String, Value>>(), "idle_usd_per_month": idle, "prices": prices::table(),
    })
}

fn used(activities: &[Activity]) -> String {
    let row = |activity: &Activity| {
        let usage = activity.usage;
        let numbers = [
            usage.api_requests,
            usage.invocations,
            usage.billed_ms,
            usage.read_units,
            usage.write_units,
            usage.sqs_requests,
            usage.events,
            usage.log_bytes,
        ];
        row(activity.name, &numbers)
    };
    let header = ["ONE", "REQUESTS", "INVOCATIONS", "BILLED ms", "READS", "WRITES", "SQS", "EVENTS", "LOG BYTES"];
    table(&header, &activities.iter().map(row).collect::<Vec<_>>())
}

fn priced(activities: &[Activity]) -> String {
    let row = |activity: &Activity| {
        let bill = activity.usage.times(MILLION).bill();
        let mut numbers: Vec<f64> = bill.parts().into_iter().map(|(_, dollars)| dollars).collect();
        numbers.extend([bill.total(), with_audit(activities, activity.usage) * MILLION]);
        row(activity.name, &numbers)
    };
    let header = ["USD PER MILLION", "GATEWAY", "LAMBDA", "DYNAMODB", "SQS", "LOGS", "TOTAL", "WITH AUDIT"];
    table(&header, &activities.iter().map(row).collect::<Vec<_>>())
}

fn idle_table(idle: &[(&'static str, f64)]) -> String {
    let total = idle.iter().map(|(_, dollars)| dollars).sum();
    let lines = idle.iter().copied().chain([("together", total)]);
    table(&["IDLE, PER MONTH", "USD"], &lines.map(|(name, dollars)| row(name, &[dollars])).collect::<Vec<_>>())
}

fn row(name: &str, numbers: &[f64]) -> Vec<String> {
    let cell = |number: &f64| if *number >= 100.0 { format!("{number:.0}") } else { format!("{number:.2}") };
    [name.to_owned()].into_iter().chain(numbers.iter().map(cell)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Activity, Bill, Usage, billed_ms, with_audit};

    #[test]
    fn a_bill_is_usage_times_list_price() {
        let usage = Usage {
            api_requests: 5e6,
            invocations: 5e6,
            gb_seconds: 60_000.0,
            read_units: 8e6,
            write_units: 16e6,
            sqs_requests: 10e6,
            log_bytes: 4e9,
            ..Usage::default()
        };
        let bill = usage.bill();
        let rounded = Bill { lambda: super::round(bill.lambda, 3), ..bill };
        let expected = Bill { api_gateway: 5.0, lambda: 2.0, dynamodb: 11.0, sqs: 4.0, logs: 2.0 };
        assert_eq!(rounded, expected);
        assert_eq!(billed_ms(Duration::from_micros(1_001)), 2.0);
    }

    #[test]
    fn a_month_without_callers_is_relays_runs_and_the_mappings_polls() {
        let idle = super::idle(Usage { read_units: 1.0, ..Usage::default() });
        let dollars =
            |name: &str| idle.iter().find(|(other, _)| *other == name).map(|(_, dollars)| super::round(*dollars, 4));
        assert_eq!(dollars("relay: traces"), Some(0.219));
        assert_eq!(dollars("polls of the empty queue"), Some(0.2628));
        assert_eq!(dollars("relay: reads of the empty outbox"), Some(0.0055));
    }

    #[test]
    fn an_activity_pays_for_its_audit_entries() {
        let entry = Usage { sqs_requests: 1e6, ..Usage::default() };
        let activities = [Activity { name: super::ENTRY, usage: entry, ..Activity::default() }];
        let sign_in = Usage { api_requests: 1e6, events: 2.0, ..Usage::default() };
        assert!((with_audit(&activities, sign_in) - 1.8).abs() < 1e-9);
    }
}
