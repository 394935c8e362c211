//! Whose signatures are believed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use clap::Args;
use echo_shared::audit::note::VerifierKey;
use echo_verify::keys_in;

use super::list::items;
use crate::Failure;
use crate::api::member;
use crate::session::Session;

/// More than the last line of any export has.
const LAST: u64 = 256 * 1024;

/// Keys that are known from elsewhere.
#[derive(Args)]
pub struct Pinned {
    /// Believe this key (name+id+base64, as /audit/v1/keys has it) and no other; once for each, when it was changed
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<VerifierKey>,
}

impl Pinned {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.keys.is_empty()
    }

    /// These keys, or those that the server itself names.
    pub async fn or_of(&self, session: &mut Session<'_>) -> Result<Vec<VerifierKey>, Failure> {
        if self.any() {
            return Ok(self.keys.clone());
        }
        let keys = keys_of(session).await?;
        warn("the server itself", &keys);
        Ok(keys)
    }

    /// These keys, or those that the export itself names; none when it does not end as an export does.
    pub fn or_in(&self, export: &Path) -> Result<Option<Vec<VerifierKey>>, Failure> {
        if self.any() {
            return Ok(Some(self.keys.clone()));
        }
        let keys = keys_in(&last_line(export)?).ok();
        if let Some(keys) = &keys {
            warn("the export itself", keys);
        }
        Ok(keys)
    }
}

/// The keys that the log says are its own.
async fn keys_of(session: &mut Session<'_>) -> Result<Vec<VerifierKey>, Failure> {
    let nothing: [(&str, &str); 0] = [];
    let answer = session.json("/audit/v1/keys", &nothing).await?;
    items(&answer).map(|item| Ok(member(item, "vkey")?.parse()?)).collect()
}

fn warn(whose: &str, keys: &[VerifierKey]) {
    eprintln!("echoctl: nothing but {whose} vouches for its keys; compare them, and pin them from now on:");
    keys.iter().for_each(|key| eprintln!("  --key {}", crate::show::plain(&key.to_string())));
}

fn last_line(path: &Path) -> Result<Vec<u8>, Failure> {
    let said = |error: std::io::Error| Failure::from(format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(said)?;
    let size = file.metadata().map_err(said)?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LAST))).map_err(said)?;
    let mut end = Vec::new();
    file.take(LAST).read_to_end(&mut end).map_err(said)?;
    Ok(end.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default().to_vec())
}
