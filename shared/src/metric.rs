//! Metrics as log lines: CloudWatch's embedded metric format.
//!
//! CloudWatch Logs turns the lines into metrics by itself: no call, no agent, no permission. A custom metric costs
//! nothing in hours without a line, so an idle Echo has none. Format:
//! docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::Env;

/// The format takes at most this many values of a metric in one line.
const MAX_VALUES: usize = 100;

/// What is measured: a closed set, because the dashboard and the alarms of `template.yaml` name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// A person signed in.
    Logins,
    /// A sign-in or a request for a token was refused.
    Refusals,
    /// A decision was ALLOW.
    DecisionsAllowed,
    /// A decision was DENY.
    DecisionsDenied,
    /// Records of a batch that will be delivered again.
    BatchFailures,
    /// Milliseconds from an event of Echo's own to its entry in the audit log.
    AuditDelay,
    /// Seconds that the oldest event has waited in the outbox; only when one waits.
    OutboxAge,
}

impl Metric {
    /// The metric's name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logins => "Logins",
            Self::Refusals => "Refusals",
            Self::DecisionsAllowed => "DecisionsAllowed",
            Self::DecisionsDenied => "DecisionsDenied",
            Self::BatchFailures => "BatchFailures",
            Self::AuditDelay => "AuditDelay",
            Self::OutboxAge => "OutboxAge",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::AuditDelay => "Milliseconds",
            Self::OutboxAge => "Seconds",
            _ => "Count",
        }
    }
}

/// Writes metrics of one stack. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    stack: String,
    clock: Clock,
    write: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Metrics {
    /// The stack's name, under `ECHO_STACK`: the metrics' one dimension.
    pub fn stack(env: &mut Env<'_>) -> String {
        env.text("ECHO_STACK")
    }

    /// Metrics of `stack` to standard output.
    pub fn new(stack: impl Into<String>, clock: Clock) -> Self {
        Self::to(stack, clock, |line| {
            // A log that cannot be written must not fail what it tells of.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        })
    }

    /// Metrics to anywhere: tests read them.
    pub fn to(stack: impl Into<String>, clock: Clock, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { stack: stack.into(), clock, write: Arc::new(write) }
    }

    /// It happened once.
    pub fn count(&self, metric: Metric) {
        self.put(metric, &[1]);
    }

    /// These values were seen.
    pub fn put(&self, metric: Metric, values: &[u64]) {
        for values in values.chunks(MAX_VALUES) {
            (self.write)(&self.line(metric, values).to_string());
        }
    }

    fn line(&self, metric: Metric, values: &[u64]) -> Value {
        let definition = json!({
            "Namespace": "Echo",
            "Dimensions": [["Stack"]],
            "Metrics": [{"Name": metric.name(), "Unit": metric.unit()}],
        });
        let millis = self.clock.now().unix_timestamp_nanos() / 1_000_000;
        let value = if let [one] = values { json!(one) } else { json!(values) };
        json!({
            "_aws": {"Timestamp": i64::try_from(millis).unwrap_or_default(), "CloudWatchMetrics": [definition]},
            "Stack": self.stack,
            metric.name(): value,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::{Metric, Metrics};
    use crate::clock::Clock;

    #[test]
    fn the_dashboard_shows_every_metric_and_no_other() {
        let template = include_str!("../../template.yaml");
        let shown = template.split(r#"["Echo", ""#).skip(1).map(|rest| rest.split('"').next().unwrap());
        let shown: BTreeSet<&str> = shown.collect();
        let all = [
            Metric::Logins,
            Metric::Refusals,
            Metric::DecisionsAllowed,
            Metric::DecisionsDenied,
            Metric::BatchFailures,
            Metric::AuditDelay,
            Metric::OutboxAge,
        ];
        assert_eq!(shown, all.map(Metric::name).into());
    }

    #[test]
    fn lines_are_in_the_embedded_metric_format() {
        let lines = Arc::new(Mutex::new(Vec::<Value>::new()));
        let seen = Arc::clone(&lines);
        let clock = Clock::from_fn(|| datetime!(2026-01-01 00:00:00.5 UTC));
        let metrics =
            Metrics::to("echo", clock, move |line| seen.lock().unwrap().push(serde_json::from_str(line).unwrap()));
        metrics.count(Metric::Logins);
        metrics.put(Metric::AuditDelay, &[7; 101]);
        metrics.put(Metric::AuditDelay, &[]);
        let lines = lines.lock().unwrap();
        assert_eq!(
            lines[0],
            json!({
                "_aws": {"Timestamp": 1_767_225_600_500_i64, "CloudWatchMetrics": [{
                    "Namespace": "Echo", "Dimensions": [["Stack"]], "Metrics": [{"Name": "Logins", "Unit": "Count"}]}]},
                "Stack": "echo", "Logins": 1,
            })
        );
        assert_eq!(lines.len(), 3, "a line takes a hundred values");
        assert_eq!((lines[1]["AuditDelay"].as_array().unwrap().len(), &lines[2]["AuditDelay"]), (100, &json!(7)));
    }
}
