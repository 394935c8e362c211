//! Checkpoints: C2SP tlog-checkpoint in a C2SP signed-note, signed with Ed25519.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::merkle::{Frontier, Hash, MAX_SIZE, hash};
use crate::config::Issuer;
use crate::telemetry::hex;

/// The signature type of Ed25519 in signed-note.
const ED25519_TYPE: u8 = 1;
/// The largest note that is looked at, in bytes.
const MAX_NOTE: usize = 64 * 1024;

/// The head of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: the first line.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// The origin of an org's log: where it is served, without the scheme, as tlog-tiles asks. What could end a line or
/// a key name is percent-encoded.
pub fn origin(issuer: &Issuer, org: &str) -> String {
    let base = issuer.as_str().split_once("://").map_or(issuer.as_str(), |(_, rest)| rest);
    format!("{base}/audit/v1/log/{}", segment(org))
}

/// A text as one segment of a path (RFC 3986 section 3.3): anything but unreserved characters is percent-encoded.
pub fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => segment.push(char::from(byte)),
            byte => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

impl Checkpoint {
    /// The checkpoint of a tree.
    pub fn of(origin: &str, tree: &Frontier) -> Self {
        Self { origin: origin.into(), size: tree.size(), root: tree.root() }
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads the text that was signed. Extension lines are passed over.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let number: u64 = size.parse().ok().filter(|size| *size <= MAX_SIZE)?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let well_formed = !origin.is_empty() && number.to_string() == size && lines.all(|line| !line.is_empty());
        well_formed.then(|| Self { origin: origin.into(), size: number, root })
    }
}

/// A private key that signs checkpoints. Cannot be printed.
pub struct Signer(Ed25519KeyPair);

/// A key or note that is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The private key is damaged.
    #[error("the key that signs checkpoints is damaged, or could not be made")]
    Signer,
    /// The public key is not in signed-note's form.
    #[error("a verifier key reads name+8 hexadecimal digits+base64, and its digits must fit the rest")]
    Key,
    /// Not a signed note that holds a checkpoint.
    #[error("not a checkpoint in a signed note")]
    Malformed,
    /// None of the known keys signed it.
    #[error("signed by none of the keys given")]
    Unsigned,
    /// It names a known key, and the signature is wrong.
    #[error("the signature of `{0}` is wrong")]
    Forged(String),
}

impl Signer {
    /// A new key in PKCS #8.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn generate() -> Result<Vec<u8>, NoteError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new());
        pkcs8.map(|pkcs8| pkcs8.as_ref().to_vec()).map_err(|_| NoteError::Signer)
    }

    /// Reads what [`Self::generate`] made.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, NoteError> {
        Ed25519KeyPair::from_pkcs8(pkcs8).map(Self).map_err(|_| NoteError::Signer)
    }

    /// The public half, 32 bytes (RFC 8032).
    pub fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap_or_default()
    }

    /// The signed note. One key signs for every log: the key's name is the log's origin.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text();
        let key = VerifierKey::new(&checkpoint.origin, self.public());
        let signature = [&key.id()[..], self.0.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n\u{2014} {} {}\n", key.name, STANDARD.encode(signature))
    }
}

/// A public key under the name it signs with, as signed-note's tools write it: `name+id+base64(type || key)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// The key's name: the origin of the log.
    pub name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key `public` under `name`.
    pub fn new(name: &str, public: [u8; 32]) -> Self {
        Self { name: name.into(), public }
    }

    fn id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = hash(&[self.name.as_bytes(), &[b'\n', ED25519_TYPE], &self.public]);
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_TYPE], &self.public[..]].concat();
        write!(f, "{}+{}+{}", self.name, hex(&self.id()), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let parse = || {
            let (name, rest) = text.trim().split_once('+')?;
            let (id, key) = rest.split_once('+')?;
            let key = STANDARD.decode(key).ok()?;
            let (ED25519_TYPE, public) = key.split_first().map(|(kind, public)| (*kind, public))? else { return None };
            let key = Self::new(name, public.try_into().ok()?);
            (is_name(name) && hex(&key.id()) == id).then_some(key)
        };
        parse().ok_or(NoteError::Key)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

/// The checkpoint in a note that one of `keys` signed. Signatures of other keys are passed over, wrong ones of a
/// known key are not.
///
/// # Errors
/// When it is no such note.
pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Checkpoint, NoteError> {
    let control = |c: char| c < ' ' && c != '\n';
    if note.len() > MAX_NOTE || note.chars().any(control) {
        return Err(NoteError::Malformed);
    }
    let end = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, signatures) = note.split_at_checked(end + 1).ok_or(NoteError::Malformed)?;
    let signatures = signatures.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
    let mut signed = false;
    for line in signatures.ok_or(NoteError::Malformed)?.split('\n') {
        let (name, signature) = read_signature(line).ok_or(NoteError::Malformed)?;
        let Some((id, signature)) = signature.split_first_chunk::<4>() else { return Err(NoteError::Malformed) };
        let Some(key) = keys.iter().find(|key| key.name == name && key.id() == *id) else { continue };
        let verified = UnparsedPublicKey::new(&ED25519, key.public).verify(text.as_bytes(), signature);
        verified.map_err(|_| NoteError::Forged(name.into()))?;
        signed = true;
    }
    if !signed {
        return Err(NoteError::Unsigned);
    }
    Checkpoint::parse(text).ok_or(NoteError::Malformed)
}

fn read_signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    is_name(name).then_some(())?;
    Some((name, STANDARD.decode(signature).ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, NoteError, Signer, VerifierKey, open, origin};
    use crate::audit::merkle::Frontier;
    use crate::config::Issuer;

    fn signer() -> Signer {
        Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        let mut tree = Frontier::default();
        tree.push([7; 32]);
        Checkpoint::of("echo.example/audit/v1/log/demo", &tree)
    }

    /// The example of the specification itself; its key is Go's well-known `PeterNeumann` one.
    #[test]
    fn a_note_of_another_implementation_opens() {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(key.parse::<VerifierKey>().unwrap().to_string(), key);
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        // Its signature is good; that its text is no checkpoint is only seen behind that.
        assert_eq!(open(note, &[key.parse().unwrap()]), Err(NoteError::Malformed));
        let forged = note.replace("answer", "Answer");
        assert_eq!(open(&forged, &[key.parse().unwrap()]), Err(NoteError::Forged("PeterNeumann".into())));
    }

    #[test]
    fn only_what_a_known_key_signed_opens() {
        let (signer, checkpoint) = (signer(), checkpoint());
        let key = VerifierKey::new(&checkpoint.origin, signer.public());
        let note = signer.sign(&checkpoint);
        assert_eq!(open(&note, &[key.to_string().parse().unwrap()]), Ok(checkpoint.clone()));

        let stranger = VerifierKey::new(&checkpoint.origin, self::signer().public());
        let renamed = VerifierKey::new("echo.example/other", signer.public());
        assert_eq!(open(&note, &[stranger, renamed]), Err(NoteError::Unsigned));
        let larger = note.replacen("\n1\n", "\n2\n", 1);
        assert!(matches!(open(&larger, std::slice::from_ref(&key)), Err(NoteError::Forged(_))));
        for bad in ["", "\n\n", "a\n\n\u{2014} b\n", &note.replace('\n', "\r\n"), note.trim_end()] {
            assert_eq!(open(bad, std::slice::from_ref(&key)), Err(NoteError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn after_a_change_of_keys_old_and_new_notes_open() {
        let (old, new, checkpoint) = (signer(), signer(), checkpoint());
        let keys = [old.public(), new.public()].map(|public| VerifierKey::new(&checkpoint.origin, public));
        for signer in [old, new] {
            assert_eq!(open(&signer.sign(&checkpoint), &keys), Ok(checkpoint.clone()));
        }
    }

    #[test]
    fn a_key_with_another_id_is_refused() {
        let key = VerifierKey::new("a.example", [1; 32]).to_string();
        for bad in ["", "a", "a+b+c", &key.replacen("a.", "b.", 1), &key.replacen("a.", "a b.", 1)] {
            assert_eq!(bad.parse::<VerifierKey>(), Err(NoteError::Key), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_one_line_without_spaces() {
        let issuer = Issuer::parse("https://echo.example").unwrap();
        assert_eq!(origin(&issuer, "demo"), "echo.example/audit/v1/log/demo");
        assert_eq!(origin(&issuer, "a b/+\n\u{e9}"), "echo.example/audit/v1/log/a%20b%2F%2B%0A%C3%A9");
    }
}
