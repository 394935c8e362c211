//! Reads `template.yaml`, the one truth, into a [`Stack`].
//!
//! Understands what Echo's template uses of SAM and CloudFormation, and says so when it meets something else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::time::Duration;

use serde_yaml_ng::Value;
use serde_yaml_ng::value::TaggedValue;

use crate::spec::{
    FunctionSpec, IndexSpec, MappingSpec, QueueSpec, Redrive, RouteSpec, ScheduleSpec, Stack, TableSpec,
};

/// The region and account that local ARNs name.
pub const REGION: &str = "us-east-1";
/// The account that local ARNs name.
pub const ACCOUNT: &str = "000000000000";

/// What the local cloud knows and a template cannot.
#[derive(Clone, Debug)]
pub struct Context {
    /// `AWS::StackName`: the prefix of tables, queues and buckets.
    pub stack_name: String,
    /// Parameters (`Issuer`), those not named keep their defaults; and attributes (`MasterKey.Value`).
    pub parameters: BTreeMap<String, String>,
    /// Queue URLs are this, a slash and the queue's name.
    pub queue_base_url: String,
}

/// The template cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(String, std::io::Error),
    /// The file is no YAML.
    #[error("template.yaml: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// Something in it is missing or not understood.
    #[error("template.yaml: {0}")]
    Content(String),
}

type Result<T> = std::result::Result<T, TemplateError>;

/// Reads the template at `path`.
///
/// # Errors
/// When it cannot be read or played; the message names the place.
pub fn read(path: &Path, context: &Context) -> Result<Stack> {
    let text = std::fs::read_to_string(path).map_err(|error| TemplateError::Read(path.display().to_string(), error))?;
    parse(&text, context)
}

/// Reads a template.
///
/// # Errors
/// When it cannot be played; the message names the place.
pub fn parse(text: &str, context: &Context) -> Result<Stack> {
    let root: Value = serde_yaml_ng::from_str(text)?;
    let template = Template { root: &root, context };
    let mut stack = Stack::default();
    for (name, resource) in template.resources() {
        let kind = text_of(member(resource, "Type")).unwrap_or_default();
        let properties = member(resource, "Properties");
        match kind.as_str() {
            "AWS::Serverless::Function" => template.function(&name, properties, &mut stack)?,
            "AWS::Lambda::EventSourceMapping" => stack.mappings.push(template.mapping(&name, properties)?),
            "AWS::ApiGatewayV2::Route" => stack.routes.push(template.route(&name, properties)?),
            "AWS::SQS::Queue" => stack.queues.push(template.queue(&name, properties)?),
            "AWS::DynamoDB::Table" => stack.tables.push(template.table(&name, properties)?),
            "AWS::S3::Bucket" => stack.buckets.push(template.bucket_name(&name)?),
            _ => {}
        }
    }
    stack.mappings.iter().try_for_each(|mapping| check(mapping, &stack))?;
    Ok(stack)
}

/// What Lambda refuses when a mapping is made (API reference, CreateEventSourceMapping).
fn check(mapping: &MappingSpec, stack: &Stack) -> Result<()> {
    let at = format!("the mapping of {}", mapping.queue);
    let timeout = stack.functions.get(&mapping.function).map(|function| function.timeout).unwrap_or_default();
    let queue =
        stack.queues.iter().find(|queue| queue.name == mapping.queue).ok_or_else(|| missing(&at, "its queue"))?;
    let refuse = |why: &str| Err(content(&at, why));
    match mapping {
        _ if timeout > queue.visibility_timeout => refuse("has a function whose Timeout is over VisibilityTimeout"),
        _ if !(1..=10_000).contains(&mapping.batch_size) => refuse("has a BatchSize that is not 1 to 10000"),
        _ if mapping.window > Duration::from_secs(300) => refuse("has a batching window of over 300 seconds"),
        _ if mapping.batch_size > 10 && mapping.window.is_zero() => {
            refuse("needs MaximumBatchingWindowInSeconds for a BatchSize over 10")
        }
        _ if !(2..=1_000).contains(&mapping.max_concurrency) => {
            refuse("has a MaximumConcurrency that is not 2 to 1000")
        }
        _ => Ok(()),
    }
}

struct Template<'a> {
    root: &'a Value,
    context: &'a Context,
}

impl Template<'_> {
    fn resources(&self) -> impl Iterator<Item = (String, &Value)> {
        let resources = member(self.root, "Resources").as_mapping();
        resources.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value)))
    }

    fn resource(&self, name: &str) -> Option<&Value> {
        member(self.root, "Resources").get(name)
    }

    fn function(&self, name: &str, properties: &Value, stack: &mut Stack) -> Result<()> {
        let package = package_of(properties).ok_or_else(|| missing(name, "CodeUri"))?;
        let mut environment = BTreeMap::new();
        for from in [member(member(self.root, "Globals"), "Function"), properties] {
            for (key, value) in member(member(from, "Environment"), "Variables").as_mapping().into_iter().flatten() {
                let key = key.as_str().ok_or_else(|| missing(name, "Environment"))?;
                environment.insert(key.to_owned(), self.resolve(value)?);
            }
        }
        for (event, body) in member(properties, "Events").as_mapping().into_iter().flatten() {
            let event = event.as_str().unwrap_or_default();
            let at = format!("{name}.Events.{event}");
            let source = member(body, "Properties");
            match member(body, "Type").as_str() {
                Some("Schedule" | "ScheduleV2") => stack.schedules.push(schedule(&at, event, &package, source)?),
                _ => return Err(content(&at, "only schedules are events; routes and mappings stand by themselves")),
            }
        }
        let function = FunctionSpec {
            name: package.clone(),
            timeout: seconds(member(properties, "Timeout")).unwrap_or(Duration::from_secs(3)),
            memory: number(member(properties, "MemorySize")).and_then(|memory| memory.try_into().ok()).unwrap_or(128),
            environment,
        };
        // A binary that is deployed twice runs once here.
        match stack.functions.entry(package) {
            Entry::Vacant(free) => {
                free.insert(function);
            }
            Entry::Occupied(mut same) if same.get().environment == function.environment => {
                let same = same.get_mut();
                same.timeout = same.timeout.max(function.timeout);
                same.memory = same.memory.max(function.memory);
            }
            Entry::Occupied(_) => return Err(content(name, "shares its binary, but not its environment")),
        }
        Ok(())
    }

    fn mapping(&self, at: &str, source: &Value) -> Result<MappingSpec> {
        let queue = referenced(member(source, "EventSourceArn")).ok_or_else(|| missing(at, "EventSourceArn"))?;
        let function = referenced(member(source, "FunctionName")).ok_or_else(|| missing(at, "FunctionName"))?;
        let function = self.resource(&function).and_then(|function| package_of(member(function, "Properties")));
        let types = member(source, "FunctionResponseTypes").as_sequence();
        let concurrency = number(member(member(source, "ScalingConfig"), "MaximumConcurrency")).unwrap_or(2);
        Ok(MappingSpec {
            queue: self.queue_name(&queue)?,
            function: function.ok_or_else(|| missing(at, "a function with CodeUri"))?,
            batch_size: number(member(source, "BatchSize")).and_then(|size| size.try_into().ok()).unwrap_or(10),
            window: seconds(member(source, "MaximumBatchingWindowInSeconds")).unwrap_or_default(),
            report_failures: types.is_some_and(|types| types.iter().any(|t| t == "ReportBatchItemFailures")),
            max_concurrency: concurrency.try_into().unwrap_or(2),
        })
    }

    fn route(&self, name: &str, properties: &Value) -> Result<RouteSpec> {
        let key = member(properties, "RouteKey").as_str().ok_or_else(|| missing(name, "RouteKey"))?;
        let (method, path) = key.split_once(' ').ok_or_else(|| content(name, "write the route as `METHOD /path`"))?;
        let target = referenced(member(properties, "Target")).ok_or_else(|| missing(name, "Target"))?;
        let integration = self.resource(&target).ok_or_else(|| missing(name, &target))?;
        let function = referenced(member(member(integration, "Properties"), "IntegrationUri"));
        let function =
            function.and_then(|function| self.resource(&function)).ok_or_else(|| missing(&target, "function"))?;
        let function = package_of(member(function, "Properties")).ok_or_else(|| missing(name, "CodeUri"))?;
        Ok(RouteSpec { method: method.into(), path: path.into(), function })
    }

    fn queue(&self, name: &str, properties: &Value) -> Result<QueueSpec> {
        if properties.get("FifoQueue").is_some() {
            return Err(content(name, "FIFO queues are not offered locally"));
        }
        let mut spec = QueueSpec::new(self.queue_name(name)?);
        if let Some(visibility) = seconds(member(properties, "VisibilityTimeout")) {
            spec.visibility_timeout = visibility;
        }
        if let Some(retention) = seconds(member(properties, "MessageRetentionPeriod")) {
            spec.retention = retention;
        }
        if let Some(delay) = seconds(member(properties, "DelaySeconds")) {
            spec.delay = delay;
        }
        if let Some(size) = number(member(properties, "MaximumMessageSize")) {
            spec.max_message_size = size.try_into().unwrap_or(spec.max_message_size);
        }
        let redrive = member(properties, "RedrivePolicy");
        if let Some(target) = referenced(member(redrive, "deadLetterTargetArn")) {
            let count = number(member(redrive, "maxReceiveCount")).and_then(|count| count.try_into().ok());
            let max_receive_count = count.ok_or_else(|| missing(name, "maxReceiveCount"))?;
            spec.redrive = Some(Redrive { target: self.queue_name(&target)?, max_receive_count });
        }
        Ok(spec)
    }

    fn queue_name(&self, name: &str) -> Result<String> {
        let queue = self.resource(name).ok_or_else(|| missing("Resources", name))?;
        match member(member(queue, "Properties"), "QueueName") {
            Value::Null => Ok(format!("{}-{name}", self.context.stack_name)),
            named => self.resolve(named),
        }
    }

    fn table(&self, name: &str, properties: &Value) -> Result<TableSpec> {
        if properties.get("LocalSecondaryIndexes").is_some() {
            return Err(content(name, "has local secondary indexes, which are not offered locally"));
        }
        let (partition_key, sort_key) = keys(name, properties)?;
        let indexes = member(properties, "GlobalSecondaryIndexes").as_sequence();
        Ok(TableSpec {
            name: self.table_name(name)?,
            partition_key,
            sort_key,
            ttl_attribute: text_of(member(member(properties, "TimeToLiveSpecification"), "AttributeName")),
            indexes: indexes.into_iter().flatten().map(|spec| index(name, spec)).collect::<Result<_>>()?,
        })
    }

    fn table_name(&self, name: &str) -> Result<String> {
        let table = self.resource(name).ok_or_else(|| missing("Resources", name))?;
        match member(member(table, "Properties"), "TableName") {
            Value::Null => Ok(format!("{}-{name}", self.context.stack_name)),
            named => self.resolve(named),
        }
    }

    /// Like CloudFormation's own names, but for the random end.
    fn bucket_name(&self, name: &str) -> Result<String> {
        let bucket = self.resource(name).ok_or_else(|| missing("Resources", name))?;
        match member(member(bucket, "Properties"), "BucketName") {
            Value::Null => Ok(format!("{}-{name}", self.context.stack_name).to_ascii_lowercase()),
            named => self.resolve(named),
        }
    }

    /// The value of a scalar or an intrinsic function.
    fn resolve(&self, value: &Value) -> Result<String> {
        if let Some(text) = text_of(value) {
            return Ok(text);
        }
        let Value::Tagged(tagged) = value else {
            return Err(content("value", "neither a scalar nor `!Ref`, `!Sub`, `!GetAtt`, `!If`"));
        };
        let TaggedValue { tag, value } = tagged.as_ref();
        match tag.to_string().as_str() {
            "!Ref" => self.reference(value.as_str().unwrap_or_default()),
            "!Sub" => self.substitute(value.as_str().unwrap_or_default()),
            "!GetAtt" => self.attribute(value.as_str().unwrap_or_default()),
            "!If" => match value.as_sequence().map(Vec::as_slice) {
                Some([condition, yes, no]) => {
                    let holds =
                        self.holds(member(member(self.root, "Conditions"), condition.as_str().unwrap_or_default()))?;
                    self.resolve(if holds { yes } else { no })
                }
                _ => Err(content("!If", "takes three values")),
            },
            other => Err(content(other, "is not understood locally")),
        }
    }

    fn reference(&self, name: &str) -> Result<String> {
        if name == "AWS::StackName" {
            return Ok(self.context.stack_name.clone());
        }
        if let Some(given) = self.context.parameters.get(name) {
            return Ok(given.clone());
        }
        let parameter = member(member(self.root, "Parameters"), name);
        if !parameter.is_null() {
            return text_of(member(parameter, "Default"))
                .ok_or_else(|| content(name, "is a parameter without a value"));
        }
        let kind = self.resource(name).and_then(|resource| member(resource, "Type").as_str());
        match kind {
            Some("AWS::SQS::Queue") => Ok(format!("{}/{}", self.context.queue_base_url, self.queue_name(name)?)),
            Some("AWS::DynamoDB::Table") => self.table_name(name),
            Some("AWS::S3::Bucket") => self.bucket_name(name),
            _ => Err(content(name, "cannot be referenced locally")),
        }
    }

    fn attribute(&self, name: &str) -> Result<String> {
        let given = self.context.parameters.get(name);
        given.cloned().ok_or_else(|| content(name, "is an attribute that is not known locally"))
    }

    fn substitute(&self, text: &str) -> Result<String> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').ok_or_else(|| content("!Sub", "has an open brace"))?;
            result.push_str(before);
            result.push_str(&self.reference(name)?);
            rest = behind;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn holds(&self, condition: &Value) -> Result<bool> {
        let Value::Tagged(tagged) = condition else { return Err(content("Conditions", "must be `!Not` or `!Equals`")) };
        match (tagged.tag.to_string().as_str(), tagged.value.as_sequence().map(Vec::as_slice)) {
            ("!Not", Some([inner])) => Ok(!self.holds(inner)?),
            ("!Equals", Some([left, right])) => Ok(self.resolve(left)? == self.resolve(right)?),
            (other, _) => Err(content(other, "is not understood locally")),
        }
    }
}

/// The partition key's and the sort key's names of a table or an index.
fn keys(at: &str, properties: &Value) -> Result<(String, Option<String>)> {
    let keys = member(properties, "KeySchema").as_sequence().ok_or_else(|| missing(at, "KeySchema"))?;
    let key = |kind: &str| {
        let key = keys.iter().find(|key| member(key, "KeyType") == kind)?;
        text_of(member(key, "AttributeName"))
    };
    Ok((key("HASH").ok_or_else(|| missing(at, "HASH key"))?, key("RANGE")))
}

fn index(table: &str, spec: &Value) -> Result<IndexSpec> {
    let name = text_of(member(spec, "IndexName")).ok_or_else(|| missing(table, "an IndexName"))?;
    let at = format!("{table}, index {name},");
    if member(member(spec, "Projection"), "ProjectionType") != "ALL" {
        return Err(content(&at, "has a Projection that is not ALL; the others are not offered locally"));
    }
    let (partition_key, sort_key) = keys(&at, spec)?;
    Ok(IndexSpec { name, partition_key, sort_key })
}

fn schedule(at: &str, name: &str, function: &str, source: &Value) -> Result<ScheduleSpec> {
    let expression = text_of(member(source, "ScheduleExpression"))
        .or_else(|| text_of(member(source, "Schedule")))
        .unwrap_or_default();
    let rate = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')'));
    let (count, unit) =
        rate.and_then(|rate| rate.split_once(' ')).ok_or_else(|| content(at, "write `rate(n unit)`"))?;
    let factor = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return Err(content(at, "unknown unit")),
    };
    let count: u64 = count.parse().map_err(|_| content(at, "the rate is no number"))?;
    Ok(ScheduleSpec { name: name.into(), function: function.into(), every: Duration::from_secs(count * factor) })
}

/// The package is the last folder of `CodeUri`.
fn package_of(properties: &Value) -> Option<String> {
    let uri = member(properties, "CodeUri").as_str()?;
    uri.trim_end_matches('/').rsplit('/').next().map(Into::into)
}

/// The logical id inside `!Ref X`, `!Ref X.Alias`, `!GetAtt X.Arn` or the last `${X}` of a `!Sub`.
fn referenced(value: &Value) -> Option<String> {
    let Value::Tagged(tagged) = value else { return None };
    let text = tagged.value.as_str()?;
    match tagged.tag.to_string().as_str() {
        "!Ref" | "!GetAtt" => text.split('.').next().map(Into::into),
        "!Sub" => text.rsplit_once("${")?.1.strip_suffix('}').map(Into::into),
        _ => None,
    }
}

/// A member of a mapping; null where there is none.
fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64()
}

fn seconds(value: &Value) -> Option<Duration> {
    number(value).map(Duration::from_secs)
}

fn missing(at: &str, what: &str) -> TemplateError {
    content(at, &format!("lacks {what}"))
}

fn content(at: &str, what: &str) -> TemplateError {
    TemplateError::Content(format!("{at} {what}"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;
    use std::time::Duration;

    use super::{Context, parse, read};
    use crate::spec::IndexSpec;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    fn context() -> Context {
        Context {
            stack_name: "echo".into(),
            parameters: BTreeMap::from([
                ("Issuer".into(), "http://localhost:9000".into()),
                ("MasterKey.Value".into(), "k".into()),
            ]),
            queue_base_url: "http://127.0.0.1:1/000000000000".into(),
        }
    }

    #[test]
    fn the_template_can_be_played() {
        let stack = read(&root().join("template.yaml"), &context()).unwrap();
        let login = &stack.functions["login"];
        assert_eq!(login.environment["ECHO_ISSUER"], "http://localhost:9000");
        assert_eq!(login.environment["LOGIN_TABLE"], "echo-login");
        assert_eq!(login.environment["AUDIT_QUEUE_URL"], "http://127.0.0.1:1/000000000000/echo-audit");
        let mapping = &stack.mappings[0];
        assert_eq!((mapping.queue.as_str(), mapping.function.as_str()), ("echo-audit", "audit-consume"));
        assert_eq!((mapping.batch_size, mapping.window), (480, Duration::from_secs(1)));
        assert!(mapping.report_failures);
        let schedules = stack.schedules.iter().map(|schedule| (schedule.function.as_str(), schedule.every.as_secs()));
        assert_eq!(schedules.collect::<Vec<_>>(), [("audit-consume", 3_600), ("relay", 60)]);
        let audit = stack.queues.iter().find(|queue| queue.name == "echo-audit").unwrap();
        assert_eq!(audit.redrive.as_ref().unwrap().target, "echo-audit-dead-letter");
        let log = stack.tables.iter().find(|table| table.name == "echo-audit_log").unwrap();
        let indexes = ["by_actor", "by_action", "by_resource", "by_time"].map(|name| IndexSpec {
            name: name.into(),
            partition_key: name.into(),
            sort_key: Some("at".into()),
        });
        assert_eq!(log.indexes, indexes);
        assert_eq!(stack.buckets, ["echo-auditcheckpointbucket"]);
        let consume = &stack.functions["audit-consume"];
        assert_eq!(consume.environment["AUDIT_CHECKPOINT_BUCKET"], "echo-auditcheckpointbucket");
        assert_eq!(consume.environment["AUDIT_KEY"], "1");
    }

    #[test]
    fn every_function_folder_is_in_the_template_and_the_other_way_round() {
        let stack = read(&root().join("template.yaml"), &context()).unwrap();
        let folders = std::fs::read_dir(root().join("functions")).unwrap();
        let folders: BTreeSet<String> = folders.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(folders, stack.functions.keys().cloned().collect());
    }

    #[test]
    fn a_queues_visibility_is_six_times_its_consumers_timeout() {
        let stack = read(&root().join("template.yaml"), &context()).unwrap();
        for mapping in &stack.mappings {
            let queue = stack.queues.iter().find(|queue| queue.name == mapping.queue).unwrap();
            assert!(queue.visibility_timeout >= 6 * stack.functions[&mapping.function].timeout, "{}", queue.name);
        }
    }

    #[test]
    fn the_watch_router_lists_the_same_routes() {
        let stack = read(&root().join("template.yaml"), &context()).unwrap();
        let mut expected: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for route in stack.routes {
            let path = route.path.replace("{rest+}", "{*rest}");
            expected.entry(path).or_default().insert((route.method, route.function));
        }
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let table = manifest.split("[workspace.metadata.lambda.watch.router]\n").nth(1).unwrap();
        let mut found: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for line in table.lines().take_while(|line| line.starts_with('"')) {
            let (path, targets) = line.split_once(" = ").unwrap();
            let words: Vec<&str> = targets.split('"').skip(1).step_by(2).collect();
            let pairs = words.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
            found.insert(path.trim_matches('"').into(), pairs);
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_binary_that_is_deployed_twice_runs_once() {
        let function = |name: &str, timeout: u32, value: &str| {
            format!(
                "  {name}:\n    Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: functions/a\n      \
                 Timeout: {timeout}\n      Environment: {{Variables: {{KEY: {value}}}}}\n"
            )
        };
        let template = |second: &str| format!("Resources:\n{}{}", function("A", 5, "x"), function("B", 9, second));
        let stack = parse(&template("x"), &context()).unwrap();
        assert_eq!(stack.functions["a"].timeout, Duration::from_secs(9));
        assert!(parse(&template("y"), &context()).unwrap_err().to_string().contains("B shares its binary"));
    }

    #[test]
    fn mappings_that_lambda_refuses_are_refused() {
        let template = |timeout: u32, properties: &str| {
            format!(
                "Resources:\n  Q:\n    Type: AWS::SQS::Queue\n    Properties: {{VisibilityTimeout: 60}}\n  F:\n    \
                 Type: AWS::Serverless::Function\n    Properties: {{CodeUri: functions/f, Timeout: {timeout}}}\n  \
                 M:\n    Type: AWS::Lambda::EventSourceMapping\n    Properties: \
                 {{EventSourceArn: !GetAtt Q.Arn, FunctionName: !Ref F, {properties}}}\n"
            )
        };
        let window = "MaximumBatchingWindowInSeconds: ";
        assert!(parse(&template(60, &format!("BatchSize: 10000, {window}1")), &context()).is_ok());
        for (timeout, properties, why) in [
            (61, String::new(), "VisibilityTimeout"),
            (1, "BatchSize: 11".into(), "MaximumBatchingWindowInSeconds"),
            (1, format!("BatchSize: 10001, {window}1"), "BatchSize"),
            (1, "BatchSize: 0".into(), "BatchSize"),
            (1, format!("{window}301"), "300"),
            (1, "ScalingConfig: {MaximumConcurrency: 1}".into(), "MaximumConcurrency"),
        ] {
            let error = parse(&template(timeout, &properties), &context()).unwrap_err().to_string();
            assert!(error.contains(why), "{properties}: {error}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let queue = "Resources:\n  Q:\n    Type: AWS::SQS::Queue\n    Properties: {QueueName: !GetAtt A.B}\n";
        assert!(parse(queue, &context()).unwrap_err().to_string().contains("A.B"));
        let fifo = "Resources:\n  Q:\n    Type: AWS::SQS::Queue\n    Properties: {FifoQueue: true}\n";
        assert!(parse(fifo, &context()).unwrap_err().to_string().contains("FIFO"));
        let table = |more: &str| {
            let properties = format!("KeySchema: [{{AttributeName: pk, KeyType: HASH}}], {more}");
            let text = format!("Resources:\n  T: {{Type: 'AWS::DynamoDB::Table', Properties: {{{properties}}}}}\n");
            parse(&text, &context()).unwrap_err().to_string()
        };
        let index = "IndexName: i, KeySchema: [{AttributeName: a, KeyType: HASH}]";
        for projection in ["", ", Projection: {ProjectionType: KEYS_ONLY}"] {
            let error = table(&format!("GlobalSecondaryIndexes: [{{{index}{projection}}}]"));
            assert!(error.contains("T, index i,") && error.contains("Projection"), "{error}");
        }
        assert!(table("LocalSecondaryIndexes: []").contains("local secondary indexes"));
    }
}
