//! Least privilege: `docs/permissions.md`, `template.yaml` and the calls in the functions' source say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

/// Action and resource.
type Right = (String, String);

/// Which table a function means by "its table".
const OWN_TABLE: [(&str, &str); 6] = [
    ("login", "LoginTable"),
    ("authorize", "PolicyTable"),
    ("ingest", "-"),
    ("query", "AuditLogTable"),
    ("audit-consume", "AuditLogTable"),
    ("relay", "OutboxTable"),
];

/// What a call needs; `own` is the function's own table.
const CALLS: [(&str, &[(&str, &str)]); 14] = [
    ("table.find", &[("dynamodb:GetItem", "own")]),
    ("table.partition", &[("dynamodb:Query", "own")]),
    ("table.put", &[("dynamodb:PutItem", "own")]),
    ("table.put_new", &[("dynamodb:PutItem", "own")]),
    ("table.update", &[("dynamodb:UpdateItem", "own")]),
    ("table.delete_existing", &[("dynamodb:DeleteItem", "own")]),
    ("table.remove", &[("dynamodb:DeleteItem", "own")]),
    ("table.scan_page", &[("dynamodb:Scan", "own")]),
    ("client.query", &[("dynamodb:Query", "own")]),
    ("client.execute_transaction", &[("dynamodb:PartiQLInsert", "own")]),
    ("publisher.publish", &[("sqs:SendMessage", "AuditQueue")]),
    ("outbox.writes", &[("dynamodb:PutItem", "OutboxTable")]),
    ("outbox.flush", &[("dynamodb:DeleteItem", "OutboxTable"), ("sqs:SendMessage", "AuditQueue")]),
    (
        "outbox.relay_at",
        &[("dynamodb:Scan", "OutboxTable"), ("dynamodb:DeleteItem", "OutboxTable"), ("sqs:SendMessage", "AuditQueue")],
    ),
];

/// Every call of the SDKs stands in one of these places; the other functions go through them.
const SDK_CALLS: [(&str, &[&str]); 4] = [
    ("shared/src/table/mod.rs", &["get_item", "query", "scan", "delete_item", "transact_write_items"]),
    ("shared/src/queue/publish.rs", &["send_message_batch"]),
    ("functions/query/src/store.rs", &["query"]),
    ("functions/audit-consume/src/lib.rs", &["execute_transaction"]),
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn template() -> Value {
    serde_yaml_ng::from_str(&std::fs::read_to_string(root().join("template.yaml")).unwrap()).unwrap()
}

fn right(action: &str, resource: &str) -> Right {
    (action.into(), resource.into())
}

/// The functions' logical ids, their crates and what their roles may do.
fn granted() -> BTreeMap<String, (String, BTreeSet<Right>)> {
    let template = template();
    let mut granted = BTreeMap::new();
    for (name, resource) in template["Resources"].as_mapping().unwrap() {
        if resource["Type"] != "AWS::Serverless::Function" {
            continue;
        }
        let properties = &resource["Properties"];
        let mut rights = BTreeSet::new();
        for policy in properties["Policies"].as_sequence().unwrap() {
            for statement in policy["Statement"].as_sequence().expect("a policy is written out, not named") {
                assert_eq!(statement["Effect"], "Allow");
                let Value::Tagged(resource) = &statement["Resource"] else { panic!("{name:?}: name the resource") };
                let resource = resource.value.as_str().unwrap().strip_suffix(".Arn").unwrap();
                let actions = statement["Action"].as_sequence().unwrap();
                rights.extend(actions.iter().map(|action| right(action.as_str().unwrap(), resource)));
            }
        }
        // SAM answers an SQS event with a managed policy for every queue of the account.
        for event in properties["Events"].as_mapping().into_iter().flat_map(|events| events.values()) {
            assert_eq!(event["Type"], "ScheduleV2", "{name:?}: a mapping stands by itself");
        }
        let package = properties["CodeUri"].as_str().unwrap().strip_prefix("functions/").unwrap();
        granted.insert(name.as_str().unwrap().to_owned(), (package.to_owned(), rights));
    }
    granted
}

#[test]
fn the_documented_rights_are_the_granted_ones() {
    let text = std::fs::read_to_string(root().join("docs/permissions.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>()).filter(|cells| cells[0].ends_with("Function"));
    let mut documented: BTreeMap<String, BTreeSet<Right>> = BTreeMap::new();
    for cells in cells {
        let new = documented.entry(cells[0].into()).or_default().insert(right(cells[1], cells[2]));
        assert!(new, "twice: {cells:?}");
    }
    let granted = granted().into_iter().map(|(name, (_, rights))| (name, rights)).collect();
    assert_eq!(documented, granted);
}

#[test]
fn nobody_is_granted_a_wildcard() {
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
    assert!(found.len() > 10);
    for statement in found {
        let text = serde_yaml_ng::to_string(statement).unwrap();
        assert!(!text.contains('*'), "{text}");
    }
}

#[test]
fn what_is_granted_is_what_the_source_calls() {
    let mut granted_to: BTreeMap<String, BTreeSet<Right>> = BTreeMap::new();
    for (package, rights) in granted().into_values() {
        // The binary `login` is deployed twice; what both may do together is what it calls.
        granted_to.entry(package).or_default().extend(rights);
    }
    let called = OWN_TABLE.map(|(package, own)| {
        let source = calls(package);
        let needed = CALLS.iter().filter(|(call, _)| source.contains(&format!("{call}(")));
        let rights = needed.flat_map(|(_, rights)| rights.iter());
        let rights = rights.map(|(action, resource)| right(action, if *resource == "own" { own } else { resource }));
        let mut rights: BTreeSet<Right> = rights.collect();
        if package == "audit-consume" {
            // Lambda reads the queue with the function's role.
            let actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
            rights.extend(actions.map(|action| right(action, "AuditQueue")));
        }
        (package.to_owned(), rights)
    });
    assert_eq!(BTreeMap::from(called), granted_to);
}

#[test]
fn the_sdks_are_called_in_known_places_only() {
    let known: BTreeMap<PathBuf, BTreeSet<String>> = SDK_CALLS
        .iter()
        .map(|(file, calls)| (root().join(file), calls.iter().map(|call| (*call).to_owned()).collect()))
        .collect();
    let mut found: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for file in sources(&root().join("functions")).into_iter().chain(sources(&root().join("shared/src"))) {
        let text = squeezed(&file);
        // A fluent builder of the SDKs is a method without arguments on a client.
        for (start, _) in text.match_indices("client.") {
            let rest = text.get(start + "client.".len()..).unwrap();
            let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let plain = ["clone", "as_ref"].contains(&name.as_str());
            if !plain && rest.get(name.len()..).unwrap().starts_with("()") {
                found.entry(file.clone()).or_default().insert(name);
            }
        }
        for (start, _) in text.match_indices("sqs.") {
            let name: String = text.get(start + 4..).unwrap().chars().take_while(|c| *c != '(').collect();
            if name == "send_message_batch" || name == "send_message" {
                found.entry(file.clone()).or_default().insert(name);
            }
        }
    }
    assert_eq!(found, known);
}

/// A function's source without what only operators' tools call, as one line without blanks and type arguments.
fn calls(package: &str) -> String {
    let folder = root().join("functions").join(package).join("src");
    let files = sources(&folder).into_iter().filter(|file| !file.ends_with("admin.rs"));
    let mut text: String = files.map(|file| squeezed(&file)).collect();
    // Policies are published by operators, with their own rights.
    if let Some((before, publish)) = text.split_once("pubasyncfnpublish(") {
        let (_, after) = publish.split_once("asyncfnactive_number").unwrap();
        text = format!("{before}{after}");
    }
    text
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn squeezed(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.lines().take_while(|line| !line.contains("#[cfg(test)]"));
    let mut squeezed: String =
        code.filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| line.split_whitespace()).collect();
    squeezed = squeezed.replace("table()", "table").replace("self.sqs.", "sqs.");
    while let Some((before, rest)) = squeezed.split_once("::<") {
        let Some((_, after)) = rest.split_once(">(") else { break };
        squeezed = format!("{before}({after}");
    }
    squeezed
}
