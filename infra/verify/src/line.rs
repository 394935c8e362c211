//! The lines of an export. Leaf and personal details are taken byte for byte as they stand there: they were hashed so.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use echo_shared::audit::merkle::Hash;
use echo_shared::audit::note::VerifierKey;

/// A line.
pub enum Line<'a> {
    /// An entry.
    Entry(Row<'a>),
    /// The signed note at the end.
    Checkpoint(String),
}

/// An entry's line.
pub struct Row<'a> {
    /// Its place.
    pub index: u64,
    /// The hash that the log keeps of it; none when the log has lost even that.
    pub hash: Option<Hash>,
    /// What was logged; none when the log has lost it.
    pub logged: Option<Logged<'a>>,
}

/// An entry.
pub struct Logged<'a> {
    /// The leaf's first byte.
    pub version: u8,
    /// The rest of the leaf.
    pub leaf: &'a str,
    /// Salt, in base64, and personal details; none once they are destroyed.
    pub personal: Option<(&'a str, &'a str)>,
}

/// Every member that a line may have. What is not known here is not verified, so it may not stand there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    hash: Option<&'a str>,
    version: Option<u8>,
    #[serde(borrow)]
    leaf: Option<&'a RawValue>,
    #[serde(borrow)]
    salt: Option<&'a str>,
    #[serde(borrow)]
    personal: Option<&'a RawValue>,
    missing: Option<bool>,
    checkpoint: Option<String>,
    keys: Option<Vec<String>>,
}

impl<'a> Members<'a> {
    fn of(line: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|_| "it is no text")?;
        serde_json::from_str(text).map_err(said)
    }

    /// Whether anything of an entry stands there.
    fn says_of_entry(&self) -> bool {
        let texts = self.hash.is_some() || self.salt.is_some();
        let json = self.leaf.is_some() || self.personal.is_some();
        texts || json || self.index.is_some() || self.version.is_some() || self.missing.is_some()
    }
}

impl<'a> Line<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &'a [u8]) -> Result<Self, String> {
        let members = Members::of(line)?;
        // Nothing would look at an entry beside the checkpoint, and people would read it.
        match (members.says_of_entry(), members.checkpoint, members.keys) {
            (false, Some(note), _) => return Ok(Self::Checkpoint(note)),
            (true, Some(_), _) => return Err("an entry stands beside the checkpoint".into()),
            (_, None, Some(_)) => return Err("it has keys without a checkpoint".into()),
            (_, None, None) => {}
        }
        let index = members.index.ok_or("it lacks `index`")?;
        let hash = members.hash.map(read_hash).transpose()?;
        let personal = match (members.salt, members.personal) {
            (Some(salt), Some(personal)) => Some((salt, personal.get())),
            (None, None) => None,
            _ => return Err("`salt` and `personal` come together".into()),
        };
        let logged = match (hash, members.version, members.leaf, members.missing.unwrap_or_default()) {
            (Some(_), Some(version), Some(leaf), false) => Some(Logged { version, leaf: leaf.get(), personal }),
            (_, None, None, true) => None,
            _ => return Err("it lacks `hash`, `version` or `leaf`, and does not say `missing`".into()),
        };
        Ok(Self::Entry(Row { index, hash, logged }))
    }
}

fn read_hash(text: &str) -> Result<Hash, String> {
    let hash = STANDARD.decode(text).ok().and_then(|hash| hash.try_into().ok());
    hash.ok_or_else(|| "`hash` is not 32 bytes in base64".into())
}

/// What is verified of a leaf.
#[derive(Deserialize)]
pub struct Claims<'a> {
    /// Whose it is.
    #[serde(borrow)]
    pub org: Cow<'a, str>,
    /// The commitment to the personal details, in base64.
    pub personal: &'a str,
}

impl<'a> Claims<'a> {
    /// Reads a leaf.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(leaf: &'a str) -> Result<Self, String> {
        serde_json::from_str(leaf).map_err(said)
    }
}

/// The keys that the last line of an export names. Nothing vouches for them but the export itself.
///
/// # Errors
/// When it is not the last line of an export.
pub fn keys_in(line: &[u8]) -> Result<Vec<VerifierKey>, String> {
    let keys = Members::of(line)?.keys.ok_or("it names no keys")?;
    keys.iter().map(|key| key.parse().map_err(|error| format!("`{key}`: {error}"))).collect()
}

/// Without serde's own line number, which is always 1.
fn said(error: serde_json::Error) -> String {
    let said = error.to_string();
    said.split_once(" at line ").map_or(said.as_str(), |(what, _)| what).to_owned()
}
