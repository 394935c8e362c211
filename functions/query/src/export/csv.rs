//! CSV (RFC 4180) for spreadsheets, which must not take a cell for a formula.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::Entry;
use echo_shared::audit::merkle::Hash;

const COLUMNS: [&str; 22] = [
    "index",
    "leaf_hash",
    "id",
    "time",
    "received_at",
    "org",
    "source",
    "actor_type",
    "actor_id",
    "actor_name",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "reason",
    "ip",
    "user_agent",
    "client_id",
    "session_id",
    "request_id",
    "trace_id",
    "details",
];

/// The first row.
pub(super) fn header() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

/// The row of an entry. Index and hash are not text of anybody's.
pub(super) fn row(index: u64, hash: &Hash, entry: &Entry) -> String {
    let Entry { id, time, received_at, org, source, record, trace_id } = entry;
    let (resource, client) = (record.resource.as_ref(), &record.client);
    let details = serde_json::to_string(&record.details).unwrap_or_default();
    let texts: [Option<&str>; COLUMNS.len() - 2] = [
        Some(id),
        Some(time),
        Some(received_at),
        Some(org),
        Some(source),
        Some(&record.actor.kind),
        Some(&record.actor.id),
        record.actor.name.as_deref(),
        Some(&record.action),
        resource.map(|resource| resource.kind.as_str()),
        resource.map(|resource| resource.id.as_str()),
        Some(record.outcome.as_str()),
        record.reason.as_deref(),
        client.ip.as_deref(),
        client.user_agent.as_deref(),
        client.client_id.as_deref(),
        record.session_id.as_deref(),
        Some(&record.request_id),
        trace_id.as_deref(),
        Some(&details),
    ];
    let cells: Vec<String> = texts.into_iter().map(|text| cell(text.unwrap_or_default())).collect();
    format!("{index},{},{}\r\n", STANDARD.encode(hash), cells.join(","))
}

/// The row of an entry that is lost: `missing` instead of an outcome.
pub(super) fn missing(index: u64, hash: Option<&Hash>) -> String {
    let hash = hash.map(|hash| STANDARD.encode(hash)).unwrap_or_default();
    let rest = COLUMNS.iter().skip(2).map(|column| if *column == "outcome" { "missing" } else { "" });
    format!("{index},{hash},{}\r\n", rest.collect::<Vec<_>>().join(","))
}

/// A cell of text. An apostrophe in front keeps spreadsheets from reading a formula.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::audit::Entry;
    use serde_json::json;

    use super::{COLUMNS, cell, header, missing, row};

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (text, expected) in [
            ("plain text", "plain text"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("=HYPERLINK(\"a\",\"b\")", "\"'=HYPERLINK(\"\"a\"\",\"\"b\"\")\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn a_row_has_a_cell_for_every_column() {
        let entry: Entry = serde_json::from_value(json!({
            "id": "1", "time": "t", "received_at": "r", "org": "demo", "source": "/s",
            "actor": {"type": "User", "id": "=u"}, "action": "a", "outcome": "denied",
            "request_id": "q", "details": {"k": 1},
        }))
        .unwrap();
        let row = row(5, &[0; 32], &entry);
        let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let expected = format!("5,{hash},1,t,r,demo,/s,User,'=u,,a,,,denied,,,,,,q,,\"{{\"\"k\"\":1}}\"\r\n");
        assert_eq!(row, expected);
        assert_eq!(row.split(',').count(), COLUMNS.len());
        assert_eq!(missing(5, None), "5,,,,,,,,,,,,,missing,,,,,,,,\r\n");
        assert_eq!(missing(5, Some(&[0; 32])), format!("5,{hash},,,,,,,,,,,,missing,,,,,,,,\r\n"));
        assert_eq!(missing(5, None).split(',').count(), COLUMNS.len());
        assert!(header().starts_with("index,leaf_hash,") && header().ends_with(",details\r\n"));
    }
}
