//! Least privilege: `docs/permissions.md`, `template.yaml` and the calls in the functions' source say the same.

mod asked;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

use super::calls::{Source, files, text};

/// Action and resource.
type Right = (String, String);

/// Which table a function means by "own": the one that it keeps under this name, or under any.
const OWN_TABLES: [(&str, &[(&str, &str)]); 7] = [
    ("login", &[("", "LoginTable")]),
    ("authorize", &[("", "PolicyTable")]),
    ("ingest", &[]),
    ("query", &[("log", "AuditLogTable"), ("table", "AuditLogTable"), ("heads", "AuditHeadTable")]),
    ("audit-consume", &[("log", "AuditLogTable"), ("heads", "AuditHeadTable")]),
    ("log-consume", &[("", "LogStoreTable")]),
    ("relay", &[("", "OutboxTable")]),
];

/// What a call needs. A method's own table is named before its dot, a request's by the last `.raw()`.
const CALLS: [(&str, &[(&str, &str)]); 29] = [
    (".find(", &[("dynamodb:GetItem", "own")]),
    (".partition(", &[("dynamodb:Query", "own")]),
    (".put(", &[("dynamodb:PutItem", "own")]),
    (".put_new(", &[("dynamodb:PutItem", "own")]),
    (".update(", &[("dynamodb:UpdateItem", "own")]),
    (".delete_existing(", &[("dynamodb:DeleteItem", "own")]),
    (".remove(", &[("dynamodb:DeleteItem", "own")]),
    (".scan_page(", &[("dynamodb:Scan", "own")]),
    ("client.get_item(", &[("dynamodb:GetItem", "own")]),
    ("client.batch_get_item(", &[("dynamodb:BatchGetItem", "own")]),
    ("client.put_item(", &[("dynamodb:PutItem", "own")]),
    // Its parts need rights of their own.
    ("client.transact_write_items(", &[("dynamodb:PutItem", "own")]),
    ("client.query(", &[("dynamodb:Query", "own")]),
    ("client.scan(", &[("dynamodb:Scan", "own")]),
    ("store::fetch(heads,", &[("dynamodb:BatchGetItem", "AuditHeadTable")]),
    ("store::fetch(self.table,", &[("dynamodb:BatchGetItem", "LogStoreTable")]),
    ("store::page(self.table,", &[("dynamodb:Query", "LogStoreTable")]),
    // One statement alone is an INSERT; in a transaction each needs its own right.
    ("insert_key(table,", &[("dynamodb:PartiQLInsert", "AuditHeadTable")]),
    ("move_head(heads,", &[("dynamodb:PartiQLInsert", "AuditHeadTable"), ("dynamodb:PartiQLUpdate", "AuditHeadTable")]),
    ("insert_chunk(log,", &[("dynamodb:PartiQLInsert", "AuditLogTable")]),
    ("insert_marker(log,", &[("dynamodb:PartiQLInsert", "AuditLogTable")]),
    ("insert_tile(log,", &[("dynamodb:PartiQLInsert", "AuditLogTable")]),
    ("insert_node(log,", &[("dynamodb:PartiQLInsert", "AuditLogTable")]),
    ("s3.put_object(", &[("s3:PutObject", "AuditCheckpointBucket/*")]),
    (".publish(", &[("sqs:SendMessage", "AuditQueue")]),
    // Who knows both queues publishes to both.
    ("[Queue::Audit,Queue::Log]", &[("sqs:SendMessage", "LogQueue")]),
    (".writes(", &[("dynamodb:PutItem", "OutboxTable")]),
    (".flush(", &[("dynamodb:DeleteItem", "OutboxTable"), ("sqs:SendMessage", "AuditQueue")]),
    (
        ".relay_at(",
        &[("dynamodb:Scan", "OutboxTable"), ("dynamodb:DeleteItem", "OutboxTable"), ("sqs:SendMessage", "AuditQueue")],
    ),
];

/// First arguments that the standard library's and the metrics' methods of these names take, and tables' do not.
const OTHER_ARGUMENTS: [&str; 4] = ["|", "'", "\"", "Metric::"];

/// What Lambda does with a function's role: it reads the queue that the function works off.
const LAMBDA: [(&str, &[(&str, &str)]); 2] = [
    (
        "audit-consume",
        &[
            ("sqs:ReceiveMessage", "AuditQueue"),
            ("sqs:DeleteMessage", "AuditQueue"),
            ("sqs:GetQueueAttributes", "AuditQueue"),
        ],
    ),
    (
        "log-consume",
        &[
            ("sqs:ReceiveMessage", "LogQueue"),
            ("sqs:DeleteMessage", "LogQueue"),
            ("sqs:GetQueueAttributes", "LogQueue"),
        ],
    ),
];

/// Every request of the SDKs is made in one of these places; the other functions go through them.
const SDK_CALLS: [(&str, &[&str]); 8] = [
    ("shared/src/table/mod.rs", &["get_item", "query", "scan", "delete_item", "transact_write_items"]),
    ("shared/src/queue/publish.rs", &["send_message_batch"]),
    ("functions/query/src/store.rs", &["query", "batch_get_item"]),
    ("functions/audit-consume/src/append.rs", &["execute_transaction"]),
    ("functions/audit-consume/src/copy.rs", &["scan", "put_object"]),
    ("functions/audit-consume/src/keys.rs", &["execute_transaction"]),
    ("functions/audit-consume/src/tree.rs", &["query"]),
    ("functions/log-consume/src/store.rs", &["put_item", "transact_write_items"]),
];

/// PartiQL stands in these places; what calls them stands in [`CALLS`].
const STATEMENTS: [(&str, &[&str]); 1] = [("functions/audit-consume/src/statement.rs", &["INSERT INTO\"", "UPDATE\""])];

/// How statements begin that name a table in quotes; `FROM` is a SELECT's and a DELETE's.
const VERBS: [&str; 3] = ["INSERT INTO\"", "UPDATE\"", "FROM\""];

/// Names of the SDKs' requests that nothing else has, called on anything. `query` is a URL's, too.
const SDK_NAMES: [&str; 29] = [
    "get_item",
    "batch_get_item",
    "transact_get_items",
    "put_item",
    "update_item",
    "delete_item",
    "batch_write_item",
    "transact_write_items",
    "execute_statement",
    "batch_execute_statement",
    "execute_transaction",
    "scan",
    "send_message",
    "send_message_batch",
    "receive_message",
    "delete_message",
    "delete_message_batch",
    "change_message_visibility",
    "change_message_visibility_batch",
    "purge_queue",
    "put_object",
    "put_object_retention",
    "put_object_legal_hold",
    "get_object",
    "copy_object",
    "delete_object",
    "delete_objects",
    "list_objects_v2",
    "create_multipart_upload",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn template() -> Value {
    serde_yaml_ng::from_str(&std::fs::read_to_string(root().join("template.yaml")).unwrap()).unwrap()
}

fn resources(template: &Value) -> impl Iterator<Item = (&str, &Value)> {
    template["Resources"].as_mapping().unwrap().iter().map(|(name, resource)| (name.as_str().unwrap(), resource))
}

fn right(action: &str, resource: &str) -> Right {
    (action.into(), resource.into())
}

/// What follows an intrinsic function: `X.Arn` of `!GetAtt X.Arn`.
fn argument(value: &Value) -> &str {
    let Value::Tagged(tagged) = value else { panic!("{value:?}: name the resource") };
    tagged.value.as_str().unwrap()
}

/// Who uses a role, by logical id: functions, and the schedule by the id that SAM gives it.
fn users(template: &Value) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    let mut add = |role: &Value, user: String| {
        let role = argument(role).strip_suffix(".Arn").unwrap().to_owned();
        if let Some(other) = users.insert(role, user) {
            panic!("{other} shares its role");
        }
    };
    for (name, resource) in resources(template) {
        let (kind, properties) = (resource["Type"].as_str().unwrap(), &resource["Properties"]);
        if !kind.ends_with("::Function") {
            continue;
        }
        // SAM makes a role with managed policies for a function without one, and another for what calls it.
        assert!(properties.get("Policies").is_none() && properties.get("Connectors").is_none(), "{name}");
        add(&properties["Role"], name.to_owned());
        for (event, source) in properties["Events"].as_mapping().into_iter().flatten() {
            assert_eq!(source["Type"], "ScheduleV2", "{name}: a mapping stands by itself");
            add(&source["Properties"]["RoleArn"], format!("{name}{}", event.as_str().unwrap()));
        }
    }
    users
}

/// What each role's user may do, without logs and traces, which are held against what they must be.
fn granted() -> BTreeMap<String, BTreeSet<Right>> {
    let template = template();
    let mut users = users(&template);
    let mut granted = BTreeMap::new();
    for (name, resource) in resources(&template) {
        let kind = resource["Type"].as_str().unwrap();
        assert!(!["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"].contains(&kind), "{name}");
        if kind != "AWS::IAM::Role" {
            continue;
        }
        let properties = &resource["Properties"];
        assert!(properties.get("ManagedPolicyArns").is_none(), "{name} has a managed policy");
        let user = users.remove(name).unwrap_or_else(|| panic!("{name} is nobody's"));
        let (mut rights, mut logs_and_traces) = (BTreeSet::new(), BTreeSet::new());
        for policy in properties["Policies"].as_sequence().unwrap() {
            for statement in policy["PolicyDocument"]["Statement"].as_sequence().unwrap() {
                assert_eq!(statement["Effect"], "Allow");
                for action in statement["Action"].as_sequence().unwrap().iter().map(|action| action.as_str().unwrap()) {
                    let own = action.starts_with("logs:") || action.starts_with("xray:");
                    let set = if own { &mut logs_and_traces } else { &mut rights };
                    for resource in named(&statement["Resource"]) {
                        assert!(set.insert(right(action, &resource)), "twice: {name}, {action}");
                    }
                }
            }
        }
        if let Some(function) = user.strip_suffix("Function") {
            let group = format!("{function}LogGroup");
            let expected = [
                right("logs:CreateLogStream", &group),
                right("logs:PutLogEvents", &group),
                right("xray:PutTelemetryRecords", "*"),
                right("xray:PutTraceSegments", "*"),
            ];
            assert_eq!(logs_and_traces, BTreeSet::from(expected), "{name}");
            assert_eq!(argument(&template["Resources"][&user]["Properties"]["LoggingConfig"]["LogGroup"]), group);
        } else {
            assert!(logs_and_traces.is_empty(), "{name}");
        }
        granted.insert(user, rights);
    }
    assert!(users.is_empty(), "roles that are not there: {users:?}");
    granted
}

/// The resources of a statement, by logical ids: `X` of `!GetAtt X.Arn`, `X/*` of `!Sub ${X.Arn}/*`.
fn named(resource: &Value) -> Vec<String> {
    let text = match resource {
        Value::Sequence(many) => return many.iter().flat_map(named).collect(),
        Value::String(text) => text.as_str(),
        tagged => argument(tagged),
    };
    let text = text.rsplit_once(":parameter").map_or(text, |(_, parameter)| parameter);
    let part = text.strip_prefix("${").and_then(|rest| rest.split_once(".Arn}"));
    vec![part.map_or_else(|| text.strip_suffix(".Arn").unwrap_or(text).to_owned(), |(id, part)| format!("{id}{part}"))]
}

/// The functions whose rights follow from their source, with their packages.
fn functions() -> BTreeMap<String, String> {
    let template = template();
    let functions = resources(&template).filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
    let package = |resource: &Value| {
        resource["Properties"]["CodeUri"].as_str().unwrap().strip_prefix("functions/").unwrap().to_owned()
    };
    functions.map(|(name, resource)| (name.to_owned(), package(resource))).collect()
}

#[test]
fn the_documented_rights_are_the_granted_ones() {
    let text = std::fs::read_to_string(root().join("docs/permissions.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>()).filter(|cells| cells[0].contains("Function"));
    let mut documented: BTreeMap<String, BTreeSet<Right>> = BTreeMap::new();
    for cells in cells {
        let new = documented.entry(cells[0].into()).or_default().insert(right(cells[1], cells[2]));
        assert!(new, "twice: {cells:?}");
    }
    assert_eq!(documented, granted());
}

#[test]
fn nobody_is_granted_a_wildcard_but_for_traces_and_objects() {
    fn statements<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Mapping(mapping) => {
                if mapping.contains_key("Effect") {
                    found.push(value);
                }
                mapping.values().for_each(|value| statements(value, found));
            }
            Value::Sequence(sequence) => sequence.iter().for_each(|value| statements(value, found)),
            Value::Tagged(tagged) => statements(&tagged.value, found),
            _ => {}
        }
    }
    let template = template();
    let mut found = Vec::new();
    statements(&template, &mut found);
    assert!(found.len() > 30);
    // They have no resource that could be named, or none yet.
    let traces: Value = serde_yaml_ng::from_str("[xray:PutTraceSegments, xray:PutTelemetryRecords]").unwrap();
    let objects: Value = serde_yaml_ng::from_str("[s3:PutObject]").unwrap();
    for statement in found {
        let text = serde_yaml_ng::to_string(statement).unwrap();
        let excused = [&traces, &objects].contains(&&statement["Action"]) && text.matches('*').count() == 1;
        assert!(!text.contains('*') || excused || statement["Effect"] == "Deny", "{text}");
    }
}

#[test]
fn what_is_granted_is_what_the_source_calls() {
    let granted = granted();
    let mut compared = BTreeSet::new();
    for (function, package) in functions() {
        let (_, tables) = OWN_TABLES.iter().find(|(name, _)| *name == package).unwrap();
        let mut needed = called(&source(&function, &package), tables);
        let (_, lambda) = LAMBDA.iter().find(|(name, _)| *name == package).unwrap_or(&("", &[]));
        needed.extend(lambda.iter().map(|(action, resource)| right(action, resource)));
        assert_eq!(needed, granted[&function], "{function}");
        compared.insert(package);
    }
    assert_eq!(compared.len(), OWN_TABLES.len());
}

/// What the calls of [`CALLS`] that stand in `text` need.
fn called(text: &str, tables: &[(&str, &str)]) -> BTreeSet<Right> {
    let mut needed = BTreeSet::new();
    for (call, rights) in CALLS {
        for (at, _) in text.match_indices(call) {
            let (before, rest) = text.split_at(at);
            let argument = rest.strip_prefix(call).unwrap();
            let is_other = OTHER_ARGUMENTS.iter().any(|other| argument.starts_with(other));
            if is_other || argument.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            for (action, resource) in rights {
                if *resource == "own" {
                    needed.extend(own(call, (before, argument), tables).map(|table| right(action, &table)));
                } else {
                    needed.insert(right(action, resource));
                }
            }
        }
    }
    needed
}

/// The table that a call is made on, and its indexes where one may be named; nothing when it is no table's.
fn own(call: &str, (before, argument): (&str, &str), tables: &[(&str, &str)]) -> impl Iterator<Item = String> {
    let holder = if call.starts_with('.') { before } else { before.rsplit_once(".raw()").map_or("", |(name, _)| name) };
    let holder = holder.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
    let table = tables.iter().find(|(name, _)| [holder, ""].contains(name)).map(|(_, table)| *table);
    let request = argument.split(".send()").next().unwrap();
    let parts = if request.contains(".set_index_name(") { &PARTS[..] } else { &[""][..] };
    table.into_iter().flat_map(move |table| parts.iter().map(move |part| format!("{table}{part}")))
}

/// A table and its indexes.
const PARTS: [&str; 5] = ["", "/index/by_actor", "/index/by_action", "/index/by_resource", "/index/by_time"];

#[test]
fn partiql_stands_in_known_places_only() {
    let mut found: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
    for file in files(&root().join("functions")).into_iter().chain(files(&root().join("shared/src"))) {
        let text = text(&file).replace('\\', "");
        let verbs: Vec<&str> = VERBS.into_iter().filter(|verb| text.contains(verb)).collect();
        if !verbs.is_empty() {
            found.insert(file, verbs);
        }
    }
    let known = STATEMENTS.map(|(file, verbs)| (root().join(file), verbs.to_vec()));
    assert_eq!(found, BTreeMap::from(known));
}

#[test]
fn the_sdks_are_called_in_known_places_only() {
    let known: BTreeMap<PathBuf, BTreeSet<String>> = SDK_CALLS
        .iter()
        .map(|(file, calls)| (root().join(file), calls.iter().map(|call| (*call).to_owned()).collect()))
        .collect();
    let mut found: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for file in files(&root().join("functions")).into_iter().chain(files(&root().join("shared/src"))) {
        let text = text(&file);
        // A request is a method without arguments.
        let named = SDK_NAMES.iter().filter(|name| text.contains(&format!(".{name}()")));
        let mut names: BTreeSet<String> = named.map(|name| (*name).to_owned()).collect();
        for client in ["client.", "sqs.", "dynamodb.", "s3."] {
            for rest in text.split(client).skip(1) {
                let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let request = rest.strip_prefix(&*name).is_some_and(|after| after.starts_with("()"));
                if request && !["clone", "as_ref"].contains(&name.as_str()) {
                    names.insert(name);
                }
            }
        }
        if !names.is_empty() {
            found.insert(file, names);
        }
    }
    assert_eq!(found, known);
}

/// What a deployed function can run: the source behind its routes, or all of its crate's. Without what only operators'
/// tools call, with their own rights.
fn source(function: &str, package: &str) -> String {
    let folder = root().join("functions").join(package).join("src");
    let files: Vec<PathBuf> = files(&folder).into_iter().filter(|file| !file.ends_with("admin.rs")).collect();
    if functions().values().filter(|other| *other == package).count() > 1 {
        return Source::read(&files).reachable(&handlers(function, &folder));
    }
    let mut source: String = files.iter().map(|file| text(file)).collect();
    if let Some((before, publish)) = source.split_once("pub async fn publish(") {
        let (_, after) = publish.split_once("async fn active_number").unwrap();
        source = format!("{before}{after}");
    }
    source
}

/// What the crate's router calls for the routes that lead to `function`.
fn handlers(function: &str, folder: &Path) -> Vec<String> {
    let template = template();
    let target = |name: &str| argument(&template["Resources"][name]["Properties"]["IntegrationUri"]).to_owned();
    let routes = resources(&template).filter(|(_, resource)| resource["Type"] == "AWS::ApiGatewayV2::Route");
    let router = text(&folder.join("lib.rs"));
    let mut handlers = Vec::new();
    for (name, route) in routes {
        let integration = argument(&route["Properties"]["Target"]).strip_prefix("integrations/${").unwrap();
        if target(integration.strip_suffix('}').unwrap()) != format!("{function}.Alias") {
            continue;
        }
        let (method, path) = route["Properties"]["RouteKey"].as_str().unwrap().split_once(' ').unwrap();
        let (_, line) = router.split_once(&format!("route(\"{path}\",")).unwrap_or_else(|| panic!("{name}"));
        let (line, _) = line.split_once("))").unwrap();
        let (_, handler) = line.split_once(&format!("{}(", method.to_lowercase())).unwrap_or_else(|| panic!("{name}"));
        handlers.push(handler.split(')').next().unwrap().to_owned());
    }
    assert!(!handlers.is_empty(), "{function} has no routes");
    handlers
}

#[test]
fn what_a_route_cannot_reach_is_not_counted() {
    let source = Source::read(&files(&root().join("functions/login/src")));
    let userinfo = source.reachable(&["userinfo::answer".into()]);
    assert!(["grant(&self", "session(&self", "put_first_key(&self"].iter().all(|name| userinfo.contains(name)));
    assert!(["end_session(&self", "replace_password_hash(&self"].iter().all(|name| !userinfo.contains(name)));
    let login = source.reachable(&["login::post".into()]);
    assert!(["end_session(&self", "replace_password_hash(&self"].iter().all(|name| login.contains(name)));
    assert!(["redeem_code(&self", "record_grant(&self"].iter().all(|name| !login.contains(name)));
}
