//! Verifies the export of a log line by line, with nothing but keys: no database, no network.
//!
//! [`Verifier`] holds every entry against its hash, builds the tree over the hashes, and holds its root against every
//! checkpoint that is known, and at the end against the export's own. [`Finding`] is the first thing that is wrong.

mod finding;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use echo_shared::audit::leaf::VERSION;
use echo_shared::audit::merkle::{Frontier, Hash, hash};
use echo_shared::audit::note::{VerifierKey, open, segment};
use line::{Claims, Line, Logged, Row};

pub use finding::{Finding, Rejected};
pub use line::keys_in;

/// A log that is what its checkpoints say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// How many known checkpoints agree, the export's own not counted.
    pub checkpoints: u64,
    /// How many entries came without their personal details; none unless that was allowed.
    pub erased: u64,
}

/// The keys do not belong to one log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("keys of one log are needed: at least one, and all under the log's name")]
pub struct NotOneLog;

/// Reads an export and remembers the first thing that is wrong with it.
pub struct Verifier {
    origin: String,
    keys: Vec<VerifierKey>,
    /// Known checkpoints that are not reached yet.
    known: BTreeSet<(u64, Hash)>,
    agreed: u64,
    tree: Frontier,
    /// So many entries a signed root vouches for.
    trusted: u64,
    lines: u64,
    /// The export's own checkpoint.
    note: Option<String>,
    /// The org that the entry before was of: seldom another one.
    org: Option<String>,
    erased: u64,
    /// Whether personal details may be gone.
    may_be_erased: bool,
    /// Where what is hashed is put together: in one piece it takes half the time.
    bytes: Vec<u8>,
    /// An entry that is wrong in itself. The hashes go on, and may show that it is the only one.
    wrong: Option<Finding>,
    /// Something behind which the hashes mean nothing.
    broken: Option<Finding>,
}

impl Verifier {
    /// A verifier of the log that `keys` are named after.
    ///
    /// # Errors
    /// When there is no key, or keys of several logs.
    pub fn new(keys: Vec<VerifierKey>) -> Result<Self, NotOneLog> {
        let origin = keys.first().map(|key| key.name.clone()).ok_or(NotOneLog)?;
        if keys.iter().any(|key| key.name != origin) {
            return Err(NotOneLog);
        }
        Ok(Self {
            origin,
            keys,
            known: BTreeSet::new(),
            agreed: 0,
            tree: Frontier::default(),
            trusted: 0,
            lines: 0,
            note: None,
            org: None,
            erased: 0,
            may_be_erased: false,
            bytes: Vec::new(),
            wrong: None,
            broken: None,
        })
    }

    /// Accepts entries whose personal details are not there. No proof tells those that were destroyed from those that
    /// somebody took out of the export.
    #[must_use]
    pub fn allow_erased(mut self) -> Self {
        self.may_be_erased = true;
        self
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries were read.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Adds a checkpoint that was kept elsewhere, under the `name` that findings call it by. False when it is none of
    /// this log. All of them must be known before the first line.
    ///
    /// # Errors
    /// When it claims to be of this log, and none of the keys signed it.
    pub fn know(&mut self, name: &str, note: &str) -> Result<bool, Finding> {
        if note.lines().next() != Some(&self.origin) {
            return Ok(false);
        }
        let checkpoint = open(note, &self.keys);
        let checkpoint = checkpoint.map_err(|error| Finding::Checkpoint { name: name.into(), index: None, error })?;
        self.known.insert((checkpoint.size, checkpoint.root));
        Ok(true)
    }

    /// Reads the next line. False when nothing that follows could say more.
    pub fn line(&mut self, line: &[u8]) -> bool {
        if !self.settled() {
            self.lines += 1;
            self.broken = self.compare().and_then(|()| self.read(line)).err();
        }
        !self.settled()
    }

    /// The end of the export, and the outcome.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn finish(mut self) -> Result<Verified, Rejected> {
        if !self.settled() {
            self.broken = self.close().err();
        }
        // An entry that is wrong in itself comes before whatever was found behind it.
        if let Some(finding) = self.wrong.or(self.broken) {
            return Err(Rejected { finding, trusted: self.trusted });
        }
        let (size, root) = (self.tree.size(), self.tree.root());
        Ok(Verified { origin: self.origin, size, root, checkpoints: self.agreed, erased: self.erased })
    }

    /// Whether the outcome cannot change any more: a signed root over hashes that include the wrong entry's says that
    /// there is none before it.
    fn settled(&self) -> bool {
        let wrong = self.wrong.as_ref().and_then(Finding::index);
        self.broken.is_some() || wrong.is_some_and(|index| index < self.trusted)
    }

    fn read(&mut self, line: &[u8]) -> Result<(), Finding> {
        let (line_number, index) = (self.lines, self.tree.size());
        let garbage = |why| Finding::Garbage { line: line_number, index, why };
        if self.note.is_some() {
            return Err(garbage("nothing may follow the checkpoint".into()));
        }
        match Line::parse(line).map_err(garbage)? {
            Line::Entry(row) => self.entry(&row),
            Line::Checkpoint(note) => {
                self.note = Some(note);
                Ok(())
            }
        }
    }

    /// The tree is built over the hashes as they stand there, so that a changed entry does not spoil those behind it.
    fn entry(&mut self, row: &Row<'_>) -> Result<(), Finding> {
        let index = self.tree.size();
        if row.index != index {
            return Err(Finding::Order { index, found: row.index });
        }
        let hash = row.hash.ok_or(Finding::Missing { index })?;
        if self.wrong.is_none() {
            self.wrong = match &row.logged {
                Some(logged) => self.check(index, &hash, logged).err(),
                None => Some(Finding::Missing { index }),
            };
        }
        self.tree.push(hash);
        Ok(())
    }

    /// Holds an entry against its hash, its log, and the commitment to its personal details.
    fn check(&mut self, index: u64, expected: &Hash, logged: &Logged<'_>) -> Result<(), Finding> {
        if self.hash(&[0, logged.version], logged.leaf) != *expected {
            return Err(Finding::Leaf { index });
        }
        if logged.version != VERSION {
            return Err(Finding::Unknown { index, why: format!("version {}", logged.version) });
        }
        let claims = Claims::of(logged.leaf).map_err(|why| Finding::Unknown { index, why })?;
        if self.org.as_deref() != Some(&claims.org) {
            if !is_log_of(&self.origin, &claims.org) {
                return Err(Finding::Org { index, org: claims.org.into_owned() });
            }
            self.org = Some(claims.org.into_owned());
        }
        match logged.personal {
            Some((salt, personal)) => {
                let salt = STANDARD.decode(salt).unwrap_or_default();
                let commitment = STANDARD.encode(self.hash(&salt, personal));
                if commitment != claims.personal {
                    return Err(Finding::Personal { index });
                }
            }
            None if self.may_be_erased => self.erased += 1,
            None => return Err(Finding::PersonalGone { index }),
        }
        Ok(())
    }

    fn hash(&mut self, head: &[u8], text: &str) -> Hash {
        self.bytes.clear();
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(text.as_bytes());
        hash(&[&self.bytes])
    }

    /// Holds the root against the known checkpoints of the size that was reached.
    fn compare(&mut self) -> Result<(), Finding> {
        while let Some(&(size, root)) = self.known.first()
            && size == self.tree.size()
        {
            if root != self.tree.root() {
                return Err(Finding::Root { index: self.trusted, size });
            }
            self.known.pop_first();
            self.trusted = size;
            self.agreed += 1;
        }
        Ok(())
    }

    /// Holds the whole against the export's own checkpoint, and that against larger ones.
    fn close(&mut self) -> Result<(), Finding> {
        self.compare()?;
        let (end, index) = (self.tree.size(), self.trusted);
        let note = self.note.as_deref().ok_or(Finding::Uncovered { index, end })?;
        let found = note.lines().next().unwrap_or_default();
        if found != self.origin {
            return Err(Finding::Origin { index, found: found.into() });
        }
        let own = open(note, &self.keys);
        let own = own.map_err(|error| Finding::Checkpoint { name: "its own".into(), index: Some(index), error })?;
        if own.origin != self.origin {
            return Err(Finding::Origin { index, found: own.origin });
        }
        if own.size > end {
            return Err(Finding::Cut { index: end, size: own.size });
        }
        if own.size < end {
            return Err(Finding::Uncovered { index, end });
        }
        if own.root != self.tree.root() {
            return Err(Finding::Root { index, size: end });
        }
        self.trusted = end;
        match self.known.last() {
            Some(&(size, _)) => Err(Finding::RolledBack { index: end, size }),
            None => Ok(()),
        }
    }
}

/// Whether the log named `origin` is that of `org`.
pub fn is_log_of(origin: &str, org: &str) -> bool {
    origin.ends_with(&format!("/audit/v1/log/{}", segment(org)))
}
