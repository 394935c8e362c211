//! `echoctl audit verify`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use echo_shared::audit::note::VerifierKey;
use echo_verify::{Finding, Rejected, Verified, Verifier};
use serde_json::json;

use super::SCOPE;
use super::checkpoints::know;
use super::keys::Pinned;
use super::parts::Parts;
use super::progress::Progress;
use crate::session::Reader;
use crate::show::plain;
use crate::{Failure, Refuted};

/// Bytes read at once.
const BLOCK: usize = 1 << 20;
/// No line is longer, in bytes: leaf and personal details have at most 64 KB each.
const LONGEST: usize = 1 << 20;

const EXIT_CODES: &str = "Exit codes: 0 verified, 1 could not verify, 2 something is wrong with the log";

/// Verify the whole log: every entry against its hash, the hashes against the signed root, the root against checkpoints
/// that were kept elsewhere. Names the first entry that is wrong.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct Verify {
    /// An export in JSON Lines to verify offline, - for standard input [default: the live log]
    file: Option<PathBuf>,
    #[command(flatten)]
    pinned: Pinned,
    /// Checkpoints that were kept elsewhere: a file, or a folder with all that is in it
    #[arg(long = "checkpoint", value_name = "PATH")]
    checkpoints: Vec<PathBuf>,
    /// Accept entries whose personal details were destroyed
    #[arg(long)]
    allow_erased: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: Reader,
}

type Outcome = Result<Verified, Rejected>;

impl Verify {
    /// Verifies, and says how it went.
    pub async fn run(self) -> Result<(), Failure> {
        let outcome = match &self.file {
            Some(file) => self.offline(file)?,
            None => self.live().await?,
        };
        println!("{}", if self.json { as_json(&outcome) } else { as_text(&outcome) });
        outcome.map(drop).map_err(|_| Refuted.into())
    }

    fn verifier(&self, keys: Vec<VerifierKey>) -> Result<Verifier, Failure> {
        let verifier = Verifier::new(keys)?;
        Ok(if self.allow_erased { verifier.allow_erased() } else { verifier })
    }

    async fn live(&self) -> Result<Outcome, Failure> {
        let mut session = self.reader.open(SCOPE).await?;
        let mut verifier = self.verifier(self.pinned.or_of(&mut session).await?)?;
        if let Some(finding) = know(&mut verifier, &self.checkpoints)? {
            return Ok(Err(finding.into()));
        }
        let (mut feed, mut parts) = (Feed::new(verifier), Parts::new(session, "jsonl"));
        while let Some(part) = parts.next().await? {
            if !feed.take(&part)? {
                break;
            }
        }
        Ok(feed.finish())
    }

    fn offline(&self, file: &Path) -> Result<Outcome, Failure> {
        let said = |error: std::io::Error| Failure::from(format!("{}: {error}", file.display()));
        let stdin = file == Path::new("-");
        if stdin && !self.pinned.any() {
            return Err("say --key: standard input ends with its keys, which are needed before".into());
        }
        let Some(keys) = self.pinned.or_in(file)? else {
            let end = BufReader::new(File::open(file).map_err(said)?).split(b'\n').count();
            return Ok(Err(Finding::Uncovered { index: 0, end: u64::try_from(end)? }.into()));
        };
        let mut verifier = self.verifier(keys)?;
        if let Some(finding) = know(&mut verifier, &self.checkpoints)? {
            return Ok(Err(finding.into()));
        }
        let mut feed = Feed::new(verifier);
        if stdin {
            feed.drain(&mut std::io::stdin().lock()).map_err(said)?;
        } else {
            feed.drain(&mut File::open(file).map_err(said)?).map_err(said)?;
        }
        Ok(feed.finish())
    }
}

/// Cuts what comes in into lines.
struct Feed {
    verifier: Verifier,
    line: Vec<u8>,
    progress: Progress,
}

impl Feed {
    fn new(verifier: Verifier) -> Self {
        Self { verifier, line: Vec::new(), progress: Progress::new() }
    }

    fn drain(&mut self, from: &mut impl Read) -> std::io::Result<()> {
        let mut block = vec![0; BLOCK];
        loop {
            let read = from.read(&mut block)?;
            if read == 0 || !self.take(block.get(..read).unwrap_or_default())? {
                return Ok(());
            }
        }
    }

    /// False when no more is needed.
    fn take(&mut self, mut bytes: &[u8]) -> std::io::Result<bool> {
        while bytes.read_until(b'\n', &mut self.line)? > 0 {
            let whole = self.line.strip_suffix(b"\n");
            let Some(line) = whole.or((self.line.len() > LONGEST).then_some(self.line.as_slice())) else { break };
            let more = self.verifier.line(line);
            self.line.clear();
            if !more {
                return Ok(false);
            }
        }
        let size = self.verifier.size();
        self.progress.tick(|seconds| format!("{size} entries, {:.0}/s", size as f64 / seconds));
        Ok(true)
    }

    fn finish(mut self) -> Outcome {
        if !self.line.is_empty() {
            self.verifier.line(&self.line);
        }
        self.verifier.finish()
    }
}

fn as_json(outcome: &Outcome) -> String {
    let json = match outcome {
        Ok(log) => json!({
            "verified": true, "origin": log.origin, "size": log.size, "root": STANDARD.encode(log.root),
            "checkpoints": log.checkpoints, "erased": log.erased,
        }),
        Err(rejected) => json!({
            "verified": false, "index": rejected.finding.index(), "exact": rejected.exact(),
            "finding": rejected.finding.code(), "message": rejected.to_string(),
        }),
    };
    json.to_string()
}

fn as_text(outcome: &Outcome) -> String {
    let log = match outcome {
        Ok(log) => log,
        Err(rejected) => return format!("NOT verified: {}", plain(&rejected.to_string())),
    };
    let Verified { origin, size, root, checkpoints, erased } = log;
    let root = STANDARD.encode(root);
    let mut text = format!("verified: {size} entries of {}\nroot: {root}", plain(origin));
    text.push_str(&match checkpoints {
        0 => "\nno checkpoint from elsewhere was given: a log that was rolled back would look the same".into(),
        some => format!("\ncheckpoints from elsewhere that agree: {some}"),
    });
    if *erased > 0 {
        text.push_str(&format!("\nentries without personal details: {erased}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use echo_shared::audit::merkle::Frontier;
    use echo_shared::audit::note::{Checkpoint, Signer, VerifierKey};
    use echo_verify::Finding;
    use serde_json::json;

    use super::{Verify, as_json, as_text};

    const ORIGIN: &str = "echo.example/audit/v1/log/demo";

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        verify: Verify,
    }

    fn verify(arguments: &[&str]) -> Verify {
        Cli::parse_from([&["verify"], arguments].concat()).verify
    }

    /// The export of an empty log, a folder with its checkpoint, and its key.
    struct Files(std::path::PathBuf, String);

    impl Files {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("verify-{name}-{}", std::process::id()));
            std::fs::create_dir_all(folder.join("copies/deep")).unwrap();
            let signer = Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap();
            let note = signer.sign(&Checkpoint::of(ORIGIN, &Frontier::default()));
            let key = VerifierKey::new(ORIGIN, signer.public()).to_string();
            std::fs::write(folder.join("log"), json!({ "checkpoint": note, "keys": [key] }).to_string()).unwrap();
            std::fs::write(folder.join("copies/deep/0"), note).unwrap();
            Self(folder, key)
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn offline(arguments: &[&str]) -> super::Outcome {
        let verify = verify(arguments);
        verify.offline(verify.file.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn an_export_verifies_by_its_own_keys_or_by_pinned_ones() {
        let files = Files::new("keys");
        let (log, copies) = (files.path("log"), files.path("copies"));
        for arguments in [vec![log.as_str()], vec![&log, "--key", &files.1], vec![&log, "--checkpoint", &copies]] {
            let outcome = offline(&arguments);
            assert!(as_text(&outcome).starts_with("verified: 0 entries of echo.example"), "{}", as_text(&outcome));
        }
        let other = Files::new("other");
        let outcome = offline(&[&log, "--key", &other.1]);
        assert!(as_json(&outcome).contains(r#""finding":"checkpoint""#), "{}", as_json(&outcome));
    }

    #[test]
    fn copies_of_other_logs_are_passed_over_and_forged_ones_are_not() {
        let files = Files::new("copies");
        let (log, copies) = (files.path("log"), files.path("copies"));
        files.write("copies/notes.txt", "of something else\n");
        assert_eq!(offline(&[&log, "--checkpoint", &copies]).unwrap().checkpoints, 1);
        let only = verify(&[&log, "--checkpoint", &files.path("copies/notes.txt")]);
        assert!(only.offline(only.file.as_ref().unwrap()).unwrap_err().to_string().contains("none of the 1 files"));
        files.write("copies/1", &format!("{ORIGIN}\n1\n\n"));
        assert!(matches!(
            offline(&[&log, "--checkpoint", &copies]).unwrap_err().finding,
            Finding::Checkpoint { index: None, .. }
        ));
    }

    #[test]
    fn a_file_that_ends_early_is_told_without_a_key() {
        let files = Files::new("cut");
        files.write("cut", "{\"index\":0}\n{\"ind");
        let outcome = offline(&[&files.path("cut")]);
        assert_eq!(outcome.unwrap_err().finding, Finding::Uncovered { index: 0, end: 2 });
        assert!(verify(&["-"]).offline("-".as_ref()).unwrap_err().to_string().contains("--key"));
    }
}
