//! `echoctl audit export`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::SCOPE;
use super::parts::Parts;
use super::progress::Progress;
use crate::Failure;
use crate::session::Reader;

/// Write out the whole log of the token's org, in its order. JSON Lines ends with the signed checkpoint: `echoctl audit
/// verify FILE` needs nothing else.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    reader: Reader,
    /// How
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Where to; the file appears when it is complete [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What an export looks like.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// JSON Lines with all that verifies them
    Jsonl,
    /// For spreadsheets
    Csv,
    /// OCSF events, for a SIEM
    Ocsf,
}

impl Export {
    /// Writes the export.
    pub async fn run(self) -> Result<(), Failure> {
        let format = match self.format {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Ocsf => "ocsf",
        };
        let mut parts = Parts::new(self.reader.open(SCOPE).await?, format);
        match &self.output {
            Some(path) => to_file(&mut parts, path).await,
            None => copy(&mut parts, &mut std::io::stdout()).await,
        }
    }
}

/// Half an export never stands under the name of a whole one.
async fn to_file(parts: &mut Parts<'_>, path: &Path) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let partial = PathBuf::from(name);
    let said = |error: std::io::Error| Failure::from(format!("{}: {error}", partial.display()));
    let mut file = File::create(&partial).map_err(said)?;
    let copied = copy(parts, &mut file).await;
    let written = copied.and_then(|()| file.sync_all().map_err(said));
    let renamed = written.and_then(|()| std::fs::rename(&partial, path).map_err(said));
    renamed.inspect_err(|_| {
        let _ = std::fs::remove_file(&partial);
    })
}

async fn copy(parts: &mut Parts<'_>, to: &mut impl Write) -> Result<(), Failure> {
    let (mut progress, mut bytes) = (Progress::new(), 0);
    while let Some(part) = parts.next().await? {
        to.write_all(&part)?;
        bytes += part.len();
        progress.tick(|seconds| {
            let megabytes = bytes as f64 / 1e6;
            format!("{megabytes:.0} MB, {:.1} MB/s", megabytes / seconds)
        });
    }
    Ok(to.flush()?)
}
