//! `echoctl audit show`.

#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use echo_shared::audit::Entry;
use echo_shared::audit::leaf::{Leaf, Personal};
use echo_shared::audit::merkle::{Hash, leaf_hash, verify_inclusion};
use echo_shared::audit::note::{Checkpoint, VerifierKey, open};
use echo_verify::is_log_of;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::SCOPE;
use super::keys::Pinned;
use crate::session::Reader;
use crate::show::{plain, table};
use crate::{Failure, Refuted};

/// Show an event's entry, and verify its proof against the signed checkpoint.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 in the log, 1 could not tell, 2 the proof is wrong")]
pub struct Show {
    /// The event's id
    id: String,
    #[command(flatten)]
    pinned: Pinned,
    /// Accept entries whose personal details were destroyed
    #[arg(long)]
    allow_erased: bool,
    /// Print the answer as JSON, with `verified` beside each entry
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: Reader,
}

/// What the server answers. What else it says of an entry is not looked at: nothing binds it.
#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
    #[serde(default)]
    more: bool,
    checkpoint: String,
}

/// What was hashed, and the proof that it is in the log.
#[derive(Serialize, Deserialize)]
struct Item {
    index: u64,
    version: u8,
    leaf: Box<RawValue>,
    /// What hid the personal details; none once they are destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    personal: Option<Box<RawValue>>,
    proof: Vec<String>,
    size: u64,
}

/// An item, and what became of it.
struct Judged<'a> {
    item: &'a Item,
    leaf: Option<Leaf>,
    /// What the leaf says; none when it says nothing.
    entry: Option<Entry>,
    outcome: Result<Checkpoint, String>,
}

/// A judged item as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    item: &'a Item,
    leaf_hash: Option<String>,
    entry: Option<&'a Entry>,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// What a leaf says of the personal details.
#[derive(Deserialize)]
struct Committed {
    personal: String,
}

impl Show {
    /// Prints what was found: an id is unique for each source alone, so it may be several.
    pub async fn run(self) -> Result<(), Failure> {
        let mut session = self.reader.open(SCOPE).await?;
        let keys = self.pinned.or_of(&mut session).await?;
        // Not as a part of the path: gateways differ in what they make of an id with a slash in it.
        let text = session.get("/audit/v1/events", &[("id", &self.id)]).await?.text().await?;
        let answer: Answer =
            serde_json::from_str(&text).map_err(|error| format!("the answer cannot be verified: {error}"))?;
        if answer.items.is_empty() {
            return Err("there is no such entry".into());
        }
        let judged: Vec<Judged> = answer.items.iter().map(|item| self.judge(item, &answer.checkpoint, &keys)).collect();
        self.print(&judged, &answer)?;
        if judged.iter().any(|judged| judged.outcome.is_err()) { Err(Refuted.into()) } else { Ok(()) }
    }

    fn print(&self, judged: &[Judged<'_>], answer: &Answer) -> Result<(), Failure> {
        if self.json {
            let items: Vec<Shown> = judged.iter().map(Judged::shown).collect();
            // Not by way of a `Value`, which would write the leaf anew.
            let (items, note) = (serde_json::to_string(&items)?, json!(answer.checkpoint));
            println!("{{\"items\":{items},\"more\":{},\"checkpoint\":{note}}}", answer.more);
            return Ok(());
        }
        judged.iter().for_each(|judged| println!("{}", judged.text()));
        if answer.more {
            eprintln!("echoctl: more sources used this id than are shown");
        }
        Ok(())
    }

    fn judge<'a>(&self, item: &'a Item, note: &str, keys: &[VerifierKey]) -> Judged<'a> {
        let read = item.leaf().and_then(|leaf| Ok((leaf.entry().map_err(|error| error.to_string())?, leaf)));
        let (outcome, leaf, entry) = match read {
            Ok((entry, leaf)) => (self.verify(item, &leaf, &entry, (note, keys)), Some(leaf), Some(entry)),
            Err(why) => (Err(why), None, None),
        };
        Judged { item, leaf, entry, outcome }
    }

    /// The checkpoint that the entry is proven against.
    fn verify(
        &self,
        item: &Item,
        leaf: &Leaf,
        entry: &Entry,
        (note, keys): (&str, &[VerifierKey]),
    ) -> Result<Checkpoint, String> {
        let checkpoint = open(note, keys).map_err(|error| format!("its checkpoint cannot be trusted: {error}"))?;
        if !keys.iter().any(|key| key.name == checkpoint.origin) || !is_log_of(&checkpoint.origin, &entry.org) {
            return Err(format!("its checkpoint is of another log: {}", checkpoint.origin));
        }
        item.prove(leaf, &checkpoint)?;
        if entry.id != self.id {
            return Err(format!("it is another event's entry: {}", entry.id));
        }
        match &leaf.personal {
            Some(personal) => check_personal(item, personal)?,
            None if self.allow_erased => {}
            None => return Err("its personal details are gone: destroyed (--allow-erased), or taken out".into()),
        }
        Ok(checkpoint)
    }
}

impl Item {
    /// The leaf as it was hashed, if it is what it should be.
    fn leaf(&self) -> Result<Leaf, String> {
        let mut bytes = vec![self.version];
        bytes.extend_from_slice(self.leaf.get().as_bytes());
        let personal = match (&self.salt, &self.personal) {
            (Some(salt), Some(json)) => {
                let salt = STANDARD.decode(salt).ok().and_then(|salt| salt.try_into().ok());
                Some(Personal { salt: salt.ok_or("its salt is damaged")?, json: json.get().to_owned() })
            }
            (None, None) => None,
            _ => return Err("salt and personal details come together".into()),
        };
        Ok(Leaf { bytes, personal })
    }

    fn prove(&self, leaf: &Leaf, checkpoint: &Checkpoint) -> Result<(), String> {
        if self.size != checkpoint.size {
            return Err("its proof is for another size than the checkpoint's".into());
        }
        let proof = self.proof.iter().map(|hash| hash_of(hash)).collect::<Result<Vec<_>, _>>()?;
        let there = verify_inclusion(&leaf_hash(&leaf.bytes), self.index, checkpoint.size, &proof, &checkpoint.root);
        if there { Ok(()) } else { Err("its proof does not lead to the signed root".into()) }
    }
}

fn check_personal(item: &Item, personal: &Personal) -> Result<(), String> {
    let committed: Committed = serde_json::from_str(item.leaf.get()).map_err(|error| error.to_string())?;
    if STANDARD.encode(personal.commitment()) == committed.personal {
        return Ok(());
    }
    Err("its personal details are not those that were logged".into())
}

fn hash_of(text: &str) -> Result<Hash, String> {
    let hash = STANDARD.decode(text).ok().and_then(|hash| hash.try_into().ok());
    hash.ok_or_else(|| format!("`{text}` is no hash"))
}

impl Judged<'_> {
    fn shown(&self) -> Shown<'_> {
        Shown {
            item: self.item,
            leaf_hash: self.leaf.as_ref().map(|leaf| STANDARD.encode(leaf_hash(&leaf.bytes))),
            entry: self.entry.as_ref(),
            verified: self.outcome.is_ok(),
            why: self.outcome.as_ref().err().map(String::as_str),
        }
    }

    fn text(&self) -> String {
        let mut rows = vec![vec!["index".into(), self.item.index.to_string()]];
        fields("", &json!(self.entry), &mut rows);
        let outcome = match &self.outcome {
            Ok(Checkpoint { origin, size, .. }) => {
                let erased = if self.item.personal.is_none() { ", without personal details" } else { "" };
                format!("verified: in {} of {size} entries{erased}", plain(origin))
            }
            Err(why) => format!("NOT verified: {}", plain(why)),
        };
        format!("{}\n{outcome}", table(&["FIELD", "VALUE"], &rows))
    }
}

/// Members under each other, those of objects by their path.
fn fields(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(&path, value, rows);
            }
        }
        Value::Null if path.is_empty() => {}
        Value::String(text) => rows.push(vec![plain(path), plain(text)]),
        other => rows.push(vec![plain(path), plain(&other.to_string())]),
    }
}
