//! The alarms: each is in `template.yaml`, tells somebody, and has a row in `docs/operations.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_yaml_ng::Value;

/// Alarm, namespace, metric, and whose metric it is.
const ALARMS: [(&str, &str, &str, &str); 9] = [
    ("AuditDeadLetterAlarm", "AWS/SQS", "ApproximateNumberOfMessagesVisible", "AuditDeadLetterQueue"),
    ("AuditOldestMessageAlarm", "AWS/SQS", "ApproximateAgeOfOldestMessage", "AuditQueue"),
    ("LogDeadLetterAlarm", "AWS/SQS", "ApproximateNumberOfMessagesVisible", "LogDeadLetterQueue"),
    ("LogOldestMessageAlarm", "AWS/SQS", "ApproximateAgeOfOldestMessage", "LogQueue"),
    ("ServerErrorAlarm", "AWS/ApiGateway", "5xx", "Api"),
    ("OutboxAgeAlarm", "Echo", "OutboxAge", "AWS::StackName"),
    ("RelayErrorAlarm", "AWS/Lambda", "Errors", "RelayFunction"),
    ("AuditConsumeErrorAlarm", "AWS/Lambda", "Errors", "AuditConsumeFunction"),
    ("ThrottleAlarm", "AWS/Lambda", "Throttles", ""),
];

fn read(file: &str) -> String {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    std::fs::read_to_string(root.join(file)).unwrap()
}

/// What an intrinsic function names: `X` of `!Ref X` and `!GetAtt X.Y`.
fn named(value: &Value) -> String {
    let Value::Tagged(tagged) = value else { panic!("{value:?}") };
    tagged.value.as_str().unwrap().split('.').next().unwrap().to_owned()
}

#[test]
fn every_alarm_watches_its_metric_and_tells_somebody() {
    let template: Value = serde_yaml_ng::from_str(&read("template.yaml")).unwrap();
    let mut found = BTreeMap::new();
    for (name, resource) in template["Resources"].as_mapping().unwrap() {
        if resource["Type"] != "AWS::CloudWatch::Alarm" {
            continue;
        }
        let (name, properties) = (name.as_str().unwrap(), &resource["Properties"]);
        let actions: Vec<String> = properties["AlarmActions"].as_sequence().unwrap().iter().map(named).collect();
        assert_eq!(actions, ["AlarmTopic"], "{name}");
        let text = |key: &str| properties[key].as_str().unwrap().to_owned();
        let dimensions = properties["Dimensions"].as_sequence().map(|all| named(&all[0]["Value"]));
        found.insert(name.to_owned(), (text("Namespace"), text("MetricName"), dimensions.unwrap_or_default()));
    }
    let expected = ALARMS.map(|(name, namespace, metric, whose)| {
        (name.to_owned(), (namespace.to_owned(), metric.to_owned(), whose.to_owned()))
    });
    assert_eq!(found, BTreeMap::from(expected));
}

#[test]
fn every_alarm_has_a_row_that_says_what_to_do() {
    let text = read("docs/operations.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let names = rows.filter_map(|row| row.split(" | ").next()).filter(|name| name.ends_with("Alarm"));
    assert_eq!(names.collect::<BTreeSet<_>>(), ALARMS.map(|(name, ..)| name).into());
}
