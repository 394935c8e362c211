//! The `log` event: a block of log lines on its way into the log store.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::log::block::{Block, MAX_BLOCK};

/// The event type.
pub const TYPE: &str = "log";

/// The payload of a `log` event between ingest and log-consume. Callers of `POST /events` send lines instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// The block in base64.
    block: String,
    /// Days that its lines are kept.
    pub days: u32,
}

impl Packed {
    /// The payload for a block.
    pub fn new(block: &Block, days: u32) -> Self {
        Self { block: STANDARD.encode(&block.data), days }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(data: Value) -> Result<Self, String> {
        serde_json::from_value(data).map_err(|error| format!("data: {error}"))
    }

    /// The block.
    ///
    /// # Errors
    /// When it is too large, or not in base64.
    pub fn block(&self) -> Result<Block, String> {
        if self.block.len() > MAX_BLOCK.div_ceil(3) * 4 {
            return Err(format!("data.block has more than {MAX_BLOCK} bytes"));
        }
        STANDARD.decode(&self.block).map(Block::of).map_err(|error| format!("data.block: {error}"))
    }

    /// The event's `data`.
    pub fn to_data(&self) -> Value {
        json!({ "block": self.block, "days": self.days })
    }
}

#[cfg(test)]
mod tests {
    use super::Packed;
    use crate::event::MAX_ENVELOPE;
    use crate::log::block::{Block, MAX_BLOCK};

    #[test]
    fn the_largest_block_fits_an_event_and_a_larger_one_does_not() {
        let packed = Packed::new(&Block::of(vec![7; MAX_BLOCK]), 30);
        let data = packed.to_data();
        // 1.5 KB for the envelope around it.
        assert!(data.to_string().len() + 1_500 < MAX_ENVELOPE);
        assert_eq!(Packed::parse(data).unwrap().block().unwrap().data.len(), MAX_BLOCK);
        assert!(Packed::new(&Block::of(vec![7; MAX_BLOCK + 3]), 30).block().is_err());
        assert!(Packed::parse(serde_json::json!({ "block": "%", "days": 1 })).unwrap().block().is_err());
    }
}
