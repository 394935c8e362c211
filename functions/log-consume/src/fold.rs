//! Folding: many small blocks become one.

use std::io;

use echo_shared::log::Damaged;
use echo_shared::log::block::{Block, read};
use echo_shared::log::header::{Header, Unfit};

use crate::piece::Piece;

/// Blocks could not be folded, though each was looked through and planned for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldError {
    /// One of them is not what it was.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// They do not belong into one block.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The compressor failed.
    #[error("cannot compress: {0}")]
    Compress(#[from] io::Error),
}

/// The block that has all lines of these, which are of one org, hour and retention.
///
/// # Errors
/// When there are none, or they do not fit.
pub(crate) fn fold(sources: &[&Piece]) -> Result<Piece, FoldError> {
    let first = sources.first().ok_or(Unfit::Empty)?;
    let mut raw = Vec::new();
    for source in sources {
        raw.extend(source.block.unpack()?);
    }
    let block = Block::pack(&raw)?;
    let header = Header::of(&read(&raw)?, raw.len(), block.data.len())?;
    let traces = sources.iter().flat_map(|source| &source.traces).copied().collect();
    Ok(Piece { org: first.org.clone(), days: first.days, block, header, traces, messages: Vec::new() })
}

#[cfg(test)]
mod tests {
    use echo_shared::log::block::read;
    use echo_shared::log::header::Unfit;
    use echo_shared::log::key::HOUR;
    use echo_shared::log::line::lines;

    use super::{FoldError, fold};
    use crate::piece::tests::piece;

    #[test]
    fn a_fold_has_all_lines() {
        let (web, db) = (piece("web", HOUR, 3), piece("db", HOUR + 1, 2));
        let both = fold(&[&web, &db]).unwrap();
        let logs = read(&both.block.unpack().unwrap()).unwrap();
        let services: Vec<_> = lines(&logs).map(|line| line.service().to_owned()).collect();
        assert_eq!(services, ["web", "web", "web", "db", "db"]);
        assert_eq!((both.header.lines, both.header.raw), (5, web.header.raw + db.header.raw));
        assert_eq!((both.header.first, both.header.last), (web.header.first, web.header.last));
        assert!(both.traces.is_superset(&web.traces) && both.traces.len() == 5);
        assert_eq!((both.org.as_str(), both.days), ("acme", 30));
    }

    #[test]
    fn what_does_not_belong_together_is_not_folded() {
        let (early, late) = (piece("web", HOUR, 1), piece("web", 2 * HOUR, 1));
        assert!(matches!(fold(&[&early, &late]), Err(FoldError::Unfit(Unfit::Hours))));
        assert!(fold(&[]).is_err());
    }
}
