//! Checkpoints that were kept elsewhere, as files.

use std::path::{Path, PathBuf};

use echo_verify::{Finding, Verifier};

use crate::Failure;

/// No note is larger, in bytes.
const LARGEST: u64 = 64 * 1024;

/// Lets the verifier know all checkpoints of its log in `paths`: files, or folders with all that is in them. A finding
/// when one claims to be of this log and is not.
pub fn know(verifier: &mut Verifier, paths: &[PathBuf]) -> Result<Option<Finding>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    let mut others = 0;
    for file in &files {
        match verifier.know(&file.display().to_string(), &read(file)?) {
            Ok(true) => {}
            Ok(false) => others += 1,
            Err(finding) => return Ok(Some(finding)),
        }
    }
    let origin = crate::show::plain(verifier.origin());
    // Whoever asks for them to agree would take silence for agreement.
    if !paths.is_empty() && others == files.len() {
        return Err(format!("none of the {others} files is a checkpoint of {origin}").into());
    }
    if others > 0 {
        eprintln!("echoctl: {others} of {} files passed over: no checkpoints of {origin}", files.len());
    }
    Ok(None)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let said = |error: std::io::Error| Failure::from(format!("{}: {error}", path.display()));
    if !std::fs::metadata(path).map_err(said)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(said)? {
        let entry = entry.map_err(said)?;
        // A link to a folder above would lead round in circles.
        if !entry.file_type().map_err(said)?.is_symlink() {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// A file's text; nothing when it can be no note.
fn read(path: &Path) -> Result<String, Failure> {
    let said = |error: std::io::Error| Failure::from(format!("{}: {error}", path.display()));
    if std::fs::metadata(path).map_err(said)?.len() > LARGEST {
        return Ok(String::new());
    }
    Ok(String::from_utf8(std::fs::read(path).map_err(said)?).unwrap_or_default())
}
