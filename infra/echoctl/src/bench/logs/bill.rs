//! What AWS charges for lines on their way into the store, at list price.
//!
//! Not in it: storage by the month, reading, log lines and traces of the functions themselves, and the polls of an idle
//! queue, which `bench cost` has.
//!
//! Lambda gives a function a share of a core by its memory, a whole one with [`WHOLE_CORE`] MB. Here a process has a
//! core of its own: the processor time that it took is stretched to what it would take on that share, and what it
//! waited counts as it was.

use std::time::Duration;

use super::super::prices;
use super::super::recorder::{Call, Service};

/// An HTTP API's request is charged per so many bytes.
const API_CHUNK: usize = 512 * 1024;
/// The event source mapping receives and deletes so many messages with one request.
const TEN: usize = 10;
/// Megabytes with which a function has a core (Lambda developer guide, "Configure Lambda function memory").
const WHOLE_CORE: f64 = 1_769.0;
/// A write unit's bytes.
const UNIT: usize = 1_024;

/// What is charged for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Requests to the HTTP API.
    pub api_requests: f64,
    /// Invocations of functions.
    pub invocations: f64,
    /// Gigabytes of memory times seconds.
    pub gb_seconds: f64,
    /// Write units.
    pub write_units: f64,
    /// Read units.
    pub read_units: f64,
    /// Requests to SQS, one for every 64 KB.
    pub sqs_requests: f64,
}

impl Used {
    /// An invocation of a function with so many megabytes of memory, as long as it took on a whole core; Lambda rounds
    /// up to whole milliseconds. [`Self::processor`] adds what a part of a core takes longer.
    pub fn invocation(&mut self, took: Duration, memory_mb: u32) {
        let ms = (took.as_secs_f64() * 1_000.0).ceil();
        self.invocations += 1.0;
        self.gb_seconds += ms / 1_000.0 * f64::from(memory_mb) / 1_024.0;
    }

    /// What invocations take longer on Lambda than here, when they took so many seconds of processor time in all: the
    /// time is multiplied by 1769 over the megabytes of memory. More memory than that makes no single thread faster.
    pub fn processor(&mut self, seconds: f64, memory_mb: u32) {
        let stretch = (WHOLE_CORE / f64::from(memory_mb)).max(1.0);
        self.gb_seconds += seconds * (stretch - 1.0) * f64::from(memory_mb) / 1_024.0;
    }

    /// A request of so many bytes.
    pub fn api_request(&mut self, bytes: usize) {
        self.api_requests += bytes.div_ceil(API_CHUNK).max(1) as f64;
    }

    /// Recorded requests to SQS and DynamoDB.
    pub fn calls(&mut self, calls: &[Call]) {
        for call in calls {
            match call.service {
                Service::Sqs => self.sqs_requests += chunks(call.bytes),
                Service::DynamoDb => {
                    self.read_units += call.read_units;
                    self.write_units += write_units(call);
                }
                Service::Jwks => {}
            }
        }
    }

    /// What the event source mapping asks SQS for when it hands over messages of these sizes.
    pub fn deliveries(&mut self, sizes: &[usize]) {
        for ten in sizes.chunks(TEN) {
            let (received, deleted) = (chunks(ten.iter().sum()), 1.0);
            self.sqs_requests += received + deleted;
        }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            api_requests: self.api_requests + other.api_requests,
            invocations: self.invocations + other.invocations,
            gb_seconds: self.gb_seconds + other.gb_seconds,
            write_units: self.write_units + other.write_units,
            read_units: self.read_units + other.read_units,
            sqs_requests: self.sqs_requests + other.sqs_requests,
        }
    }

    /// Dollars, by who charges them. Lambda on arm64.
    pub fn parts(&self) -> [(&'static str, f64); 4] {
        [
            ("gateway", self.api_requests * prices::API_REQUEST),
            ("lambda", self.invocations * prices::INVOCATION + self.gb_seconds * prices::GB_SECOND_ARM64),
            ("sqs", self.sqs_requests * prices::SQS_REQUEST),
            ("dynamodb", self.write_units * prices::WRITE_UNIT + self.read_units * prices::READ_UNIT),
        ]
    }

    /// Dollars in all.
    pub fn dollars(&self) -> f64 {
        self.parts().iter().map(|(_, dollars)| dollars).sum()
    }
}

fn chunks(bytes: usize) -> f64 {
    bytes.div_ceil(prices::SQS_CHUNK).max(1) as f64
}

/// The units that DynamoDB counted. A refused write is charged, too, and its answer does not say how much: it counts
/// with all of the request's bytes, which is more than its items have.
fn write_units(call: &Call) -> f64 {
    let refused = call.bytes.div_ceil(UNIT) as f64;
    match call.action.as_str() {
        "TransactWriteItems" if call.write_units == 0.0 => 2.0 * refused,
        "PutItem" | "BatchWriteItem" if call.write_units == 0.0 => refused,
        _ => call.write_units,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::recorder::{Call, Service};
    use super::Used;

    fn call(service: Service, action: &str, units: f64, bytes: usize) -> Call {
        let (action, tables) = (action.to_owned(), Vec::new());
        Call { service, action, tables, read_units: 0.0, write_units: units, index_units: 0.0, bytes }
    }

    #[test]
    fn requests_are_counted_by_their_size() {
        let mut used = Used::default();
        used.api_request(10);
        used.api_request(512 * 1024 + 1);
        assert_eq!(used.api_requests, 3.0);
        used.calls(&[
            call(Service::Sqs, "SendMessageBatch", 0.0, 64 * 1024),
            call(Service::Sqs, "SendMessageBatch", 0.0, 65_537),
        ]);
        assert_eq!(used.sqs_requests, 3.0);
    }

    #[test]
    fn ten_messages_are_received_by_chunks_and_deleted_at_once() {
        let mut used = Used::default();
        used.deliveries(&[60_000; 10]);
        assert_eq!(used.sqs_requests, 10.0 + 1.0);
        used.deliveries(&[100; 11]);
        assert_eq!(used.sqs_requests, 11.0 + 2.0 + 2.0);
    }

    #[test]
    fn refused_writes_are_not_free() {
        let mut used = Used::default();
        used.calls(&[
            call(Service::DynamoDb, "PutItem", 44.0, 60_000),
            call(Service::DynamoDb, "PutItem", 0.0, 2_048),
            call(Service::DynamoDb, "TransactWriteItems", 0.0, 1_025),
            call(Service::DynamoDb, "Query", 0.0, 1_025),
        ]);
        assert_eq!(used.write_units, 44.0 + 2.0 + 4.0);
    }

    #[test]
    fn a_part_of_a_core_takes_longer() {
        let gb_seconds = |memory| {
            let mut used = Used::default();
            used.invocation(Duration::from_secs(3), memory);
            used.processor(2.0, memory);
            used.gb_seconds
        };
        // One second waited, two worked at half the speed: five seconds.
        assert!((gb_seconds(1_769 / 2) - 5.0 * 884.5 / 1_024.0).abs() < 0.01);
        assert_eq!(gb_seconds(1_769), 3.0 * 1_769.0 / 1_024.0);
        assert_eq!(gb_seconds(3_072), 9.0);
    }

    #[test]
    fn a_bill_is_usage_times_list_price() {
        let mut used =
            Used { api_requests: 1e6, write_units: 2e6, read_units: 8e6, sqs_requests: 5e6, ..Used::default() };
        used.invocation(Duration::from_micros(1_500), 512);
        assert_eq!((used.invocations, used.gb_seconds), (1.0, 0.001));
        let million = Used { invocations: 1e6, gb_seconds: 75_000.0, ..used };
        let parts = million.parts().map(|(_, dollars)| (dollars * 1_000.0).round() / 1_000.0);
        assert_eq!(parts, [1.0, 1.2, 2.0, 2.25]);
        assert!((million.dollars() - 6.45).abs() < 0.001);
        assert_eq!(used.and(used).write_units, 4e6);
    }
}
