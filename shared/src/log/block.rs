//! Blocks: OTLP `LogsData`, compressed, named by their content.

use std::io;

use opentelemetry_proto::tonic::logs::v1::LogsData;
use prost::Message;

use super::Damaged;
use super::key::Id;

/// The largest compressed block, in bytes: as base64 in its event it is one billing chunk of SQS (64 KB).
pub const MAX_BLOCK: usize = 44_000;
/// The most bytes that a block has unpacked.
pub const MAX_RAW: usize = 524_288;
/// The compression's effort: beyond it, blocks take longer and get hardly smaller (docs/benchmarks.md).
const LEVEL: i32 = 6;

/// A compressed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The hash of `data`.
    pub id: Id,
    /// `LogsData` in zstd.
    pub data: Vec<u8>,
}

impl Block {
    /// Compresses the bytes of a `LogsData` message.
    ///
    /// # Errors
    /// When the compressor fails, or there are more than [`MAX_RAW`] bytes.
    pub fn pack(raw: &[u8]) -> io::Result<Self> {
        if raw.len() > MAX_RAW {
            return Err(io::Error::other(format!("a block of {} bytes", raw.len())));
        }
        Ok(Self::of(zstd::bulk::compress(raw, LEVEL)?))
    }

    /// The block whose stored bytes are `data`.
    pub fn of(data: Vec<u8>) -> Self {
        Self { id: Id::of(&data), data }
    }

    /// The bytes of the `LogsData` message: never more than [`MAX_RAW`].
    ///
    /// # Errors
    /// When the data is no such block.
    pub fn unpack(&self) -> Result<Vec<u8>, Damaged> {
        zstd::bulk::decompress(&self.data, MAX_RAW).map_err(|_| Damaged("it cannot be unpacked"))
    }
}

/// The lines of an unpacked block. Blocks are joined by joining their bytes (protobuf: repeated fields add up).
///
/// # Errors
/// When the bytes are no `LogsData`.
pub fn read(raw: &[u8]) -> Result<LogsData, Damaged> {
    LogsData::decode(raw).map_err(|_| Damaged("it holds no OTLP logs"))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::{LogsData, ResourceLogs};
    use prost::Message;

    use super::{Block, MAX_RAW, read};

    fn logs(schema: &str) -> Vec<u8> {
        let logs = ResourceLogs { schema_url: schema.into(), ..Default::default() };
        LogsData { resource_logs: vec![logs] }.encode_to_vec()
    }

    #[test]
    fn blocks_are_named_by_their_content_and_join() {
        let block = Block::pack(&logs("a")).unwrap();
        assert_eq!(Block::of(block.data.clone()), block);
        assert_ne!(Block::pack(&logs("b")).unwrap().id, block.id);
        let joined = [block.unpack().unwrap(), logs("b")].concat();
        let names = read(&joined).unwrap().resource_logs.into_iter().map(|logs| logs.schema_url);
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn bombs_and_junk_are_refused() {
        assert!(Block::pack(&vec![0; MAX_RAW + 1]).is_err());
        let bomb = zstd::bulk::compress(&vec![0; 100 * MAX_RAW], 1).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(Block::of(bomb).unpack().is_err());
        for data in [&b"junk"[..], &[0x28, 0xb5, 0x2f, 0xfd]] {
            assert!(Block::of(data.to_vec()).unpack().is_err(), "{data:?}");
        }
        assert!(read(b"\xff\xff").is_err());
    }
}
