//! What can be wrong with a log.

use echo_shared::audit::note::NoteError;

/// What is wrong. `index` is the first entry that is wrong, or that cannot be trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The entry is not what was hashed.
    #[error("entry {index} was changed: its leaf does not fit its hash")]
    Leaf {
        /// The entry.
        index: u64,
    },
    /// The personal details are not what was hashed.
    #[error("entry {index} was changed: its personal details do not fit its leaf")]
    Personal {
        /// The entry.
        index: u64,
    },
    /// The personal details are not there, and nobody said that this may be.
    #[error("entry {index} comes without its personal details: they were destroyed, or somebody took them out")]
    PersonalGone {
        /// The entry.
        index: u64,
    },
    /// The log knows of the entry, and cannot show it.
    #[error("entry {index} is missing: the log itself cannot read it")]
    Missing {
        /// The entry.
        index: u64,
    },
    /// Another tenant's entry.
    #[error("entry {index} is of the org `{org}`, whose log is another")]
    Org {
        /// The entry.
        index: u64,
        /// Whose it is.
        org: String,
    },
    /// A leaf that fits its hash, and is of no known kind.
    #[error("entry {index} is of a kind that this verifier does not know: {why}")]
    Unknown {
        /// The entry.
        index: u64,
        /// What is not known about it.
        why: String,
    },
    /// Not the index that follows.
    #[error("entry {found} stands where entry {index} should")]
    Order {
        /// The entry that should follow.
        index: u64,
        /// The one that does.
        found: u64,
    },
    /// Not a line of an export.
    #[error("line {line}, where entry {index} should be, is none of an export: {why}")]
    Garbage {
        /// Its number, from 1.
        line: u64,
        /// The entry that should stand there.
        index: u64,
        /// What is wrong with it.
        why: String,
    },
    /// All entries fit their hashes, but these are not those that were signed.
    #[error("the first {size} entries do not give their signed root: not all from {index} on are what was logged")]
    Root {
        /// The first entry that no signed root vouches for.
        index: u64,
        /// The size that the root was signed for.
        size: u64,
    },
    /// The export ends early.
    #[error("entries from {index} on are gone: the log's checkpoint counts {size}")]
    Cut {
        /// The first that is gone.
        index: u64,
        /// How many there should be.
        size: u64,
    },
    /// The log ends early.
    #[error("entries from {index} on are gone: a checkpoint of {size} entries is known, the log was rolled back")]
    RolledBack {
        /// The first that is gone.
        index: u64,
        /// How many there were.
        size: u64,
    },
    /// The export does not end with its checkpoint.
    #[error("no checkpoint of all {end} entries stands at the end: nothing vouches for those from {index} on")]
    Uncovered {
        /// The first entry that no signed root vouches for.
        index: u64,
        /// How many entries there are.
        end: u64,
    },
    /// Not signed by a known key.
    #[error("the checkpoint ({name}) cannot be trusted: {error}")]
    Checkpoint {
        /// Which one.
        name: String,
        /// The first entry that no signed root vouches for; none for a checkpoint from elsewhere.
        index: Option<u64>,
        /// What is wrong with it.
        error: NoteError,
    },
    /// The checkpoint at the end is another log's.
    #[error("the checkpoint at the end is of another log: `{found}`")]
    Origin {
        /// The first entry that no signed root vouches for.
        index: u64,
        /// Which log.
        found: String,
    },
}

impl Finding {
    /// The first entry that is wrong, or that cannot be trusted.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Checkpoint { index, .. } => *index,
            Self::Leaf { index }
            | Self::Personal { index }
            | Self::PersonalGone { index }
            | Self::Missing { index }
            | Self::Org { index, .. }
            | Self::Unknown { index, .. }
            | Self::Order { index, .. }
            | Self::Garbage { index, .. }
            | Self::Root { index, .. }
            | Self::Cut { index, .. }
            | Self::RolledBack { index, .. }
            | Self::Uncovered { index, .. }
            | Self::Origin { index, .. } => Some(*index),
        }
    }

    /// A word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Leaf { .. } => "changed",
            Self::Personal { .. } => "personal_changed",
            Self::PersonalGone { .. } => "personal_gone",
            Self::Missing { .. } => "missing",
            Self::Org { .. } => "other_org",
            Self::Unknown { .. } => "unknown_leaf",
            Self::Order { .. } => "order",
            Self::Garbage { .. } => "garbage",
            Self::Root { .. } => "root",
            Self::Cut { .. } => "cut",
            Self::RolledBack { .. } => "rolled_back",
            Self::Uncovered { .. } => "uncovered",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Origin { .. } => "other_log",
        }
    }
}

/// A log that is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{finding}{}", self.reach())]
pub struct Rejected {
    /// The first thing that is wrong.
    pub finding: Finding,
    /// So many entries' hashes give a signed root.
    pub trusted: u64,
}

impl Rejected {
    /// Whether the index is that of the first wrong entry, and not only of the first that may be wrong.
    pub fn exact(&self) -> bool {
        use Finding::{Checkpoint, Origin, Root, Uncovered};
        let vague = matches!(self.finding, Root { .. } | Uncovered { .. } | Checkpoint { .. } | Origin { .. });
        !vague && self.finding.index().is_some_and(|index| index <= self.trusted)
    }

    fn reach(&self) -> String {
        let trusted = self.trusted;
        match self.finding.index() {
            Some(index) if index < trusted => {
                format!(" (exactly this one: with its hash, the first {trusted} entries give a signed root)")
            }
            Some(index) if index > trusted => format!(" (and no signed root vouches for those from {trusted} on)"),
            _ => String::new(),
        }
    }
}

impl From<Finding> for Rejected {
    fn from(finding: Finding) -> Self {
        Self { finding, trusted: 0 }
    }
}
