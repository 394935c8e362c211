//! Ways to tamper with a log, and which entry is named for each.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use time::macros::datetime;

use super::{Finding, Rejected, Verified, Verifier, is_log_of, keys_in};
use echo_shared::audit::Entry;
use echo_shared::audit::leaf::Leaf;
use echo_shared::audit::merkle::{Frontier, leaf_hash};
use echo_shared::audit::note::{Checkpoint, NoteError, Signer, VerifierKey};
use echo_shared::event::Envelope;

const ORIGIN: &str = "echo.example/audit/v1/log/demo";

fn leaf(org: &str, n: u64) -> Leaf {
    let event = json!({
        "specversion": "1.0", "id": format!("e{n}"), "source": "/login", "type": "audit", "org": org,
        "time": "2026-01-31T12:00:00Z",
        "data": {
            "actor": {"type": "User", "id": format!("u{}", n % 7), "name": "Zoë"}, "action": "login.succeeded",
            "outcome": "success", "client": {"ip": "192.0.2.1"}, "details": {"n": n, "quote": "\"org\":\"other\""},
        },
    });
    let event = Envelope::parse(&event.to_string()).unwrap();
    let [.., low] = n.to_be_bytes();
    Leaf::new(&Entry::new(&event, datetime!(2026-01-31 12:00:01 UTC)).unwrap(), [low; 16]).unwrap()
}

/// A line as the export writes it.
fn line(index: u64, leaf: &Leaf) -> String {
    let hash = STANDARD.encode(leaf_hash(&leaf.bytes));
    let text = leaf.json().unwrap();
    let personal = leaf.personal.as_ref().map_or(String::new(), |personal| {
        format!(r#","salt":"{}","personal":{}"#, STANDARD.encode(personal.salt), personal.json)
    });
    format!(r#"{{"index":{index},"hash":"{hash}","version":1,"leaf":{text}{personal}}}"#)
}

/// A log with its key, and copies of its checkpoints.
struct Log {
    signer: Signer,
    lines: Vec<String>,
    tree: Frontier,
    known: Vec<String>,
}

impl Log {
    /// A log of `size` entries whose checkpoints of the sizes in `known` were kept elsewhere.
    fn new(size: u64, known: &[u64]) -> Self {
        let signer = Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap();
        let mut log = Self { signer, lines: Vec::new(), tree: Frontier::default(), known: Vec::new() };
        for index in 0..size {
            let leaf = leaf("demo", index);
            log.tree.push(leaf_hash(&leaf.bytes));
            log.lines.push(line(index, &leaf));
            if known.contains(&(index + 1)) {
                log.known.push(log.note());
            }
        }
        log.lines.push(log.last(&log.note()));
        log
    }

    fn note(&self) -> String {
        self.signer.sign(&Checkpoint::of(ORIGIN, &self.tree))
    }

    /// The genuine checkpoint of an earlier size.
    fn copy(&self, size: u64) -> String {
        let mut tree = Frontier::default();
        (0..size).for_each(|n| tree.push(leaf_hash(&leaf("demo", n).bytes)));
        self.signer.sign(&Checkpoint::of(ORIGIN, &tree))
    }

    fn key(&self) -> VerifierKey {
        VerifierKey::new(ORIGIN, self.signer.public())
    }

    fn last(&self, note: &str) -> String {
        json!({ "checkpoint": note, "keys": [self.key().to_string()] }).to_string()
    }

    fn verify(&self) -> Result<Verified, Rejected> {
        self.verify_with(|verifier| verifier)
    }

    fn verify_with(&self, set: impl FnOnce(Verifier) -> Verifier) -> Result<Verified, Rejected> {
        let mut verifier = set(Verifier::new(vec![self.key()]).unwrap());
        for note in &self.known {
            assert_eq!(verifier.know("a copy", note), Ok(true));
        }
        for line in &self.lines {
            if !verifier.line(line.as_bytes()) {
                break;
            }
        }
        verifier.finish()
    }

    /// The finding and whether its index is exact.
    fn rejected(&self) -> (Finding, bool) {
        let rejected = self.verify().unwrap_err();
        let exact = rejected.exact();
        (rejected.finding, exact)
    }

    fn replace(&mut self, index: usize, from: &str, to: &str) {
        assert!(self.lines[index].contains(from), "{}", self.lines[index]);
        self.lines[index] = self.lines[index].replace(from, to);
    }

    /// Gives the lines the indexes of their places.
    fn renumber(&mut self) {
        for (place, line) in self.lines.iter_mut().enumerate() {
            if let Some((_, rest)) = line.split_once(r#","hash""#) {
                *line = format!(r#"{{"index":{place},"hash"{rest}"#);
            }
        }
    }
}

#[test]
fn a_good_log_verifies() {
    let log = Log::new(1_000, &[1, 300, 700]);
    let verified = log.verify().unwrap();
    assert_eq!((verified.origin.as_str(), verified.size, verified.checkpoints), (ORIGIN, 1_000, 3));
    assert_eq!((verified.root, verified.erased), (log.tree.root(), 0));
    assert_eq!(keys_in(log.lines[1_000].as_bytes()), Ok(vec![log.key()]));
    assert!(keys_in(log.lines[999].as_bytes()).is_err());
}

#[test]
fn an_empty_log_verifies() {
    assert_eq!(Log::new(0, &[]).verify().unwrap().size, 0);
}

#[test]
fn destroyed_details_leave_the_proof_as_it_was() {
    let mut log = Log::new(10, &[]);
    log.lines[4] = line(4, &Leaf { personal: None, ..leaf("demo", 4) });
    assert_eq!(log.verify_with(Verifier::allow_erased).unwrap().erased, 1);
}

/// What was destroyed looks like what somebody took out of the export.
#[test]
fn details_that_are_gone_are_named_unless_that_is_allowed() {
    let mut log = Log::new(10, &[]);
    log.lines[4] = line(4, &Leaf { personal: None, ..leaf("demo", 4) });
    assert_eq!(log.rejected(), (Finding::PersonalGone { index: 4 }, true));
    log.replace(6, "192.0.2.1", "192.0.2.2");
    let rejected = log.verify_with(Verifier::allow_erased).unwrap_err();
    assert_eq!((rejected.finding, rejected.trusted), (Finding::Personal { index: 6 }, 10));
}

#[test]
fn a_changed_leaf_is_named_exactly() {
    let mut log = Log::new(1_000, &[300, 700]);
    log.replace(412, "login.succeeded", "login.failed");
    assert_eq!(log.rejected(), (Finding::Leaf { index: 412 }, true));
    let said = log.verify().unwrap_err().to_string();
    assert!(said.contains("entry 412 was changed") && said.contains("the first 700 entries"), "{said}");
    // Without copies the log's own checkpoint says the same.
    log.known.clear();
    assert_eq!(log.rejected(), (Finding::Leaf { index: 412 }, true));
    // One changed so well that its hash fits, before it: then that index is not the first.
    log.lines[50] = line(50, &leaf("demo", 5_000));
    assert_eq!(log.rejected(), (Finding::Leaf { index: 412 }, false));
}

#[test]
fn a_leaf_that_was_changed_with_its_hash_lies_behind_the_last_good_checkpoint() {
    let mut log = Log::new(1_000, &[300, 700]);
    log.lines[412] = line(412, &leaf("demo", 5_000));
    assert_eq!(log.rejected(), (Finding::Root { index: 300, size: 700 }, false));
    log.known.clear();
    assert_eq!(log.rejected(), (Finding::Root { index: 0, size: 1_000 }, false));
}

#[test]
fn a_removed_line_is_named() {
    let mut log = Log::new(1_000, &[300]);
    log.lines.remove(412);
    assert_eq!(log.rejected(), (Finding::Order { index: 412, found: 413 }, false));
    log.renumber();
    // The last of all is missing then, whichever was removed.
    assert_eq!(log.rejected(), (Finding::Cut { index: 999, size: 1_000 }, false));
    let said = log.verify().unwrap_err().to_string();
    assert!(said.contains("no signed root vouches for those from 300 on"), "{said}");
    log.known.push(log.copy(700));
    assert_eq!(log.rejected(), (Finding::Root { index: 300, size: 700 }, false));
}

#[test]
fn lost_entries_are_named() {
    let mut log = Log::new(100, &[]);
    let hash = STANDARD.encode(leaf_hash(&leaf("demo", 42).bytes));
    log.lines[42] = json!({ "index": 42, "hash": hash, "missing": true }).to_string();
    assert_eq!(log.rejected(), (Finding::Missing { index: 42 }, true));
    log.lines[41] = json!({ "index": 41, "missing": true }).to_string();
    assert_eq!(log.rejected(), (Finding::Missing { index: 41 }, false));
}

#[test]
fn swapped_and_repeated_lines_are_named() {
    let mut log = Log::new(1_000, &[]);
    log.lines.swap(412, 413);
    assert_eq!(log.rejected(), (Finding::Order { index: 412, found: 413 }, false));
    log.renumber();
    assert_eq!(log.rejected(), (Finding::Root { index: 0, size: 1_000 }, false));
    let mut log = Log::new(1_000, &[412]);
    let again = log.lines[411].clone();
    log.lines.insert(412, again);
    assert_eq!(log.rejected(), (Finding::Order { index: 412, found: 411 }, true));
}

#[test]
fn a_cut_tail_is_named() {
    let mut log = Log::new(1_000, &[]);
    log.lines.drain(600..1_000);
    assert_eq!(log.rejected(), (Finding::Cut { index: 600, size: 1_000 }, false));
    log.lines.pop();
    assert_eq!(log.rejected(), (Finding::Uncovered { index: 0, end: 600 }, false));
}

#[test]
fn a_log_that_was_rolled_back_is_held_against_a_newer_checkpoint() {
    let mut log = Log::new(1_000, &[300, 600, 900]);
    let older = log.last(&log.known[1].clone());
    log.lines.truncate(600);
    log.lines.push(older);
    assert_eq!(log.rejected(), (Finding::RolledBack { index: 600, size: 900 }, true));
    // Nobody knows better without it.
    log.known.pop();
    assert_eq!(log.verify().unwrap().checkpoints, 2);
    // More entries than the checkpoint counts.
    log.lines.insert(600, line(600, &leaf("demo", 600)));
    assert_eq!(log.rejected(), (Finding::Uncovered { index: 600, end: 601 }, false));
}

#[test]
fn another_orgs_entries_are_named() {
    let mut log = Log::new(1_000, &[]);
    log.lines[500] = line(500, &leaf("other", 500));
    assert_eq!(log.rejected(), (Finding::Org { index: 500, org: "other".into() }, false));
    for index in 0..1_000 {
        log.lines[index] = line(index as u64, &leaf("other", index as u64));
    }
    assert_eq!(log.rejected().0, Finding::Org { index: 0, org: "other".into() });
    assert!(is_log_of("e.example/audit/v1/log/a%20b%2Fdemo", "a b/demo") && !is_log_of(ORIGIN, "emo"));
}

#[test]
fn changed_details_and_a_flipped_salt_are_named_exactly() {
    let mut log = Log::new(1_000, &[]);
    log.replace(777, "192.0.2.1", "192.0.2.2");
    assert_eq!(log.rejected(), (Finding::Personal { index: 777 }, true));
    let salt = |byte: u8| STANDARD.encode([byte; 16]);
    log.replace(555, &salt(43), &salt(44));
    assert_eq!(log.rejected(), (Finding::Personal { index: 555 }, true));
    log.replace(3, r#""salt":"#, r#""pepper":"#);
    assert!(matches!(log.rejected(), (Finding::Garbage { line: 4, index: 3, .. }, false)));
}

#[test]
fn what_no_known_key_signed_vouches_for_nothing() {
    let mut log = Log::new(100, &[60]);
    let note = log.note();
    // Another tree under the old signature.
    log.lines[100] = log.last(&note.replacen("\n100\n", "\n99\n", 1));
    let (forged, _) = log.rejected();
    assert!(matches!(forged, Finding::Checkpoint { index: Some(60), error: NoteError::Forged(_), .. }), "{forged}");
    // A stranger's signature, whatever key the export itself names.
    let stranger = Log::new(100, &[60]);
    log.lines[100] = stranger.lines[100].clone();
    let (unsigned, exact) = log.rejected();
    assert!(!exact && matches!(unsigned, Finding::Checkpoint { error: NoteError::Unsigned, .. }), "{unsigned}");
    let mut verifier = Verifier::new(vec![log.key()]).unwrap();
    let refused = verifier.know("copies/60", &stranger.known[0]).unwrap_err();
    assert_eq!((refused.index(), refused.code()), (None, "checkpoint"));
    assert!(refused.to_string().contains("copies/60"));
}

#[test]
fn another_logs_checkpoint_is_none_of_this_one() {
    let mut log = Log::new(10, &[]);
    let elsewhere = log.signer.sign(&Checkpoint::of("echo.example/audit/v1/log/other", &log.tree));
    let mut verifier = Verifier::new(vec![log.key()]).unwrap();
    assert_eq!(verifier.know("a copy", &elsewhere), Ok(false));
    assert_eq!(verifier.know("no note", ""), Ok(false));
    log.lines[10] = log.last(&elsewhere);
    assert!(matches!(log.rejected().0, Finding::Origin { index: 0, .. }));
}

#[test]
fn garbage_is_named_by_its_line() {
    let mut log = Log::new(10, &[5]);
    log.lines[7] = "{".into();
    assert!(matches!(log.rejected(), (Finding::Garbage { line: 8, index: 7, .. }, false)));
    let mut log = Log::new(10, &[]);
    log.lines.push(String::new());
    assert!(matches!(log.rejected().0, Finding::Garbage { line: 12, .. }));
    let mut log = Log::new(10, &[]);
    log.replace(3, r#""version":1"#, r#""version":2"#);
    assert_eq!(log.rejected(), (Finding::Leaf { index: 3 }, true));
}

#[test]
fn keys_of_two_logs_verify_neither() {
    let other = VerifierKey::new("echo.example/audit/v1/log/other", [0; 32]);
    assert!(Verifier::new(vec![]).is_err());
    assert!(Verifier::new(vec![Log::new(0, &[]).key(), other]).is_err());
}

/// What a line says beyond what is verified could be believed.
#[test]
fn unknown_members_are_refused() {
    let mut log = Log::new(10, &[]);
    log.replace(2, r#"{"index":2,"#, r#"{"index":2,"note":"all is well","#);
    assert!(matches!(log.rejected().0, Finding::Garbage { line: 3, .. }));
}

/// Nothing looks at an entry in the last line, and whoever reads the file would.
#[test]
fn nothing_stands_beside_the_checkpoint_but_keys() {
    let mut log = Log::new(10, &[]);
    let good: serde_json::Value = serde_json::from_str(&log.lines[10]).unwrap();
    let mut refused = |last: serde_json::Value| {
        log.lines[10] = last.to_string();
        matches!(log.rejected().0, Finding::Garbage { line: 11, index: 10, .. })
    };
    let forged: serde_json::Value = serde_json::from_str(&line(10, &leaf("demo", 10))).unwrap();
    for (name, value) in forged.as_object().unwrap().iter().chain([(&"missing".to_owned(), &false.into())]) {
        let mut last = good.clone();
        last[name] = value.clone();
        assert!(refused(last), "{name}");
    }
    assert!(refused(json!({ "keys": good["keys"] })));
    let mut entry = forged.clone();
    entry["keys"] = good["keys"].clone();
    assert!(refused(entry));
}
