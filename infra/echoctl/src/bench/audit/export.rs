//! Verifying an export offline: a file of lines, read and checked by one thread.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::Entry;
use echo_shared::audit::leaf::{Leaf, SALT, VERSION};
use echo_shared::audit::merkle::{Frontier, Hash, leaf_hash};
use echo_shared::audit::note::{Checkpoint, Signer, VerifierKey, origin};
use echo_shared::config::Issuer;
use echo_verify::Verifier;
use serde_json::json;

use super::made::{Maker, seeded};
use crate::Failure;

/// Writes an export of `entries` entries to `file` and verifies it; entries a second of the latter.
///
/// # Errors
/// When the file cannot be written, or the verifier finds something wrong.
pub fn run(file: &Path, issuer: &Issuer, org: &str, entries: u64, events: Maker) -> Result<f64, Failure> {
    let key = write(file, &origin(issuer, org), entries, events)?;
    let begin = Instant::now();
    let mut verifier = Verifier::new(vec![key])?;
    let mut lines = BufReader::with_capacity(1 << 20, File::open(file)?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if !verifier.line(line.trim_ascii_end()) {
            break;
        }
        line.clear();
    }
    let verified = verifier.finish()?;
    let time = begin.elapsed();
    if verified.size != entries {
        return Err(format!("{} of {entries} entries were verified", verified.size).into());
    }
    Ok(entries as f64 / time.as_secs_f64())
}

/// Writes the export; the key that its checkpoint is signed with.
fn write(file: &Path, origin: &str, entries: u64, mut events: Maker) -> Result<VerifierKey, Failure> {
    let signer = Signer::from_pkcs8(&Signer::generate()?)?;
    let salts = seeded(7);
    let mut tree = Frontier::default();
    let mut lines = BufWriter::new(File::create(file)?);
    for index in 0..entries {
        let event = events.event();
        let leaf = Leaf::new(&Entry::new(&event, event.time)?, salts.bytes::<SALT>())?;
        let hash = leaf_hash(&leaf.bytes);
        writeln!(lines, "{}", line(index, &hash, &leaf)?)?;
        tree.push(hash);
    }
    let key = VerifierKey::new(origin, signer.public());
    let note = signer.sign(&Checkpoint::of(origin, &tree));
    writeln!(lines, "{}", json!({ "checkpoint": note, "keys": [key.to_string()] }))?;
    lines.flush()?;
    Ok(key)
}

/// A line as the export writes it: leaf and personal details byte for byte as they were hashed.
fn line(index: u64, hash: &Hash, leaf: &Leaf) -> Result<String, Failure> {
    let (hash, json) = (STANDARD.encode(hash), leaf.json()?);
    let personal = leaf.personal.as_ref().ok_or("a new entry has its personal details")?;
    let (salt, personal) = (STANDARD.encode(personal.salt), &personal.json);
    Ok(format!(
        r#"{{"index":{index},"hash":"{hash}","version":{VERSION},"leaf":{json},"salt":"{salt}","personal":{personal}}}"#
    ))
}

#[cfg(test)]
mod tests {
    use echo_local::state::{make_runtime_directory, remove_runtime_directory};
    use echo_shared::config::Issuer;
    use echo_shared::entropy::Entropy;
    use time::Duration;
    use time::macros::datetime;

    use super::{Maker, run};

    #[test]
    fn what_is_written_is_an_export() {
        let directory = make_runtime_directory(&Entropy::system()).unwrap();
        let issuer = Issuer::parse("http://localhost:9000").unwrap();
        let events = Maker::new("a b", 1, datetime!(2026-01-31 12:00:00 UTC), Duration::SECOND);
        assert!(run(&directory.join("export.jsonl"), &issuer, "a b", 300, events).unwrap() > 0.0);
        remove_runtime_directory(&directory);
    }
}
