//! Requests as exporters send them.
//!
//! - Nine of the twelve services write to a collector, which sends [`COLLECTED`] records at a time: one `ResourceLogs`
//!   for each service that wrote some of them, as the Collector's batch processor groups them (its `send_batch_size` is
//!   8,192, often set lower; 2,000 fill about a megabyte).
//! - Three services, one of each kind but front doors ([`BY_THEMSELVES`]), send by the OpenTelemetry SDK's batch
//!   processor: [`OWN`] records, its default `maxExportBatchSize`, of one service. They write a third of all lines.
//!
//! All of it in protobuf and gzip. What is left when a measurement ends is sent in smaller requests.

use std::collections::BTreeMap;
use std::io::Write;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::draw::mix;
use super::made::{Language, Lines, Made, SERVICES};
use super::otlp::text;
use crate::Failure;

/// Records of a collector's request.
const COLLECTED: usize = 2_000;
/// Records of an SDK's request.
const OWN: usize = 512;
/// Which of [`SERVICES`] send by themselves: `checkout`, `shipping` and `media-worker`.
const BY_THEMSELVES: [usize; 3] = [3, 8, 9];

/// A request, ready to be sent.
pub struct Request {
    /// Protobuf in gzip.
    pub body: Bytes,
    /// Bytes of the protobuf.
    pub unpacked: usize,
    /// How many lines.
    pub lines: usize,
    /// Their raw size in bytes.
    pub raw: usize,
}

/// The content of a request.
pub struct Batch {
    /// Lines by resource.
    pub logs: Vec<ResourceLogs>,
    /// How many.
    pub lines: usize,
    /// Their raw size in bytes.
    pub raw: usize,
}

/// What waits for being sent, by exporter: the collector, or a service.
#[derive(Default)]
pub struct Exporters {
    waiting: BTreeMap<Option<usize>, Vec<Made>>,
}

impl Exporters {
    /// Takes a line; answers with a batch when one is full.
    pub fn add(&mut self, made: Made) -> Option<Batch> {
        let exporter = BY_THEMSELVES.contains(&made.from).then_some(made.from);
        let full = if exporter.is_some() { OWN } else { COLLECTED };
        let waiting = self.waiting.entry(exporter).or_default();
        waiting.push(made);
        (waiting.len() >= full).then(|| batch(std::mem::take(waiting)))
    }

    /// What is left.
    pub fn rest(self) -> impl Iterator<Item = Batch> {
        self.waiting.into_values().filter(|waiting| !waiting.is_empty()).map(batch)
    }
}

/// A number of lines as requests.
///
/// # Errors
/// When they cannot be compressed.
pub fn requests(mut lines: Lines, count: usize) -> Result<Vec<Request>, Failure> {
    let mut exporters = Exporters::default();
    let mut requests = Vec::new();
    for _ in 0..count {
        if let Some(batch) = exporters.add(lines.line()) {
            requests.push(request(batch)?);
        }
    }
    for batch in exporters.rest() {
        requests.push(request(batch)?);
    }
    Ok(requests)
}

fn request(batch: Batch) -> Result<Request, Failure> {
    let bytes = LogsData { resource_logs: batch.logs }.encode_to_vec();
    Ok(Request { body: gzip(&bytes)?, unpacked: bytes.len(), lines: batch.lines, raw: batch.raw })
}

/// Compresses as exporters do.
///
/// # Errors
/// Never: it is memory that is written to.
pub fn gzip(bytes: &[u8]) -> Result<Bytes, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

/// Lines, grouped by the service that wrote them.
pub fn batch(made: Vec<Made>) -> Batch {
    let (lines, raw) = (made.len(), made.iter().map(|made| made.raw).sum());
    let mut by_service = BTreeMap::<usize, Vec<LogRecord>>::new();
    for made in made {
        by_service.entry(made.from).or_default().push(made.record);
    }
    Batch { logs: by_service.into_iter().map(|(from, records)| of_resource(from, records)).collect(), lines, raw }
}

fn of_resource(from: usize, log_records: Vec<LogRecord>) -> ResourceLogs {
    let (name, language) = SERVICES.get(from).map_or(("", Language::Rust), |service| (service.name, service.language));
    let (sdk, scope) = match language {
        Language::Java => ("java", "io.opentelemetry.logback-appender-1.0"),
        Language::Python => ("python", "opentelemetry.sdk._logs"),
        Language::Rust => ("rust", "opentelemetry-appender-tracing"),
    };
    let place = mix(from as u64);
    let attributes = vec![
        text("service.name", name),
        text("service.namespace", "shop"),
        text("service.version", format!("4.{}.{}", place % 20, place % 7)),
        text("service.instance.id", format!("{place:016x}")),
        text("deployment.environment.name", "production"),
        text("host.name", format!("ip-10-0-{}-{}", place % 32, place % 251)),
        text("telemetry.sdk.language", sdk),
        text("telemetry.sdk.name", "opentelemetry"),
    ];
    let scope = InstrumentationScope { name: scope.into(), ..Default::default() };
    ResourceLogs {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_logs: vec![ScopeLogs { scope: Some(scope), log_records, ..Default::default() }],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use echo_shared::log::block::read;
    use echo_shared::log::line::lines;
    use flate2::read::GzDecoder;

    use super::{COLLECTED, Lines, OWN, Request, requests};

    const BEGIN: u64 = 1_769_860_800_000_000_000;

    fn made() -> Vec<Request> {
        requests(Lines::new(1, BEGIN, 5_000_000), 12_000).unwrap()
    }

    #[test]
    fn collectors_send_many_services_and_sdks_their_own() {
        let (mut collected, mut own) = (0, 0);
        for request in made() {
            let mut bytes = Vec::new();
            GzDecoder::new(&request.body[..]).read_to_end(&mut bytes).unwrap();
            let logs = read(&bytes).unwrap();
            assert_eq!((lines(&logs).count(), bytes.len()), (request.lines, request.unpacked));
            match (logs.resource_logs.len(), request.lines) {
                (1, OWN) => own += request.lines,
                (6..=9, COLLECTED) => collected += request.lines,
                (_, rest) => assert!(rest < COLLECTED),
            }
        }
        assert!(collected >= 3 * COLLECTED && own >= 4 * OWN, "{collected} and {own}");
    }

    #[test]
    fn nothing_is_lost_and_every_run_sends_the_same() {
        let (one, other) = (made(), made());
        assert_eq!(one.iter().map(|request| request.lines).sum::<usize>(), 12_000);
        assert!(one.iter().map(|request| &request.body).eq(other.iter().map(|request| &request.body)));
        let raw = one.iter().map(|request| request.raw).sum::<usize>();
        assert!((12_000 * 370..12_000 * 450).contains(&raw));
    }
}
