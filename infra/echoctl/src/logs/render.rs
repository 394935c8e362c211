//! Lines for people to read. All text in them is somebody else's.

use std::io::IsTerminal;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::Value;

use crate::show::plain;

/// Whether there are colours.
#[derive(Args)]
pub struct Colours {
    /// No colours; there are none either when the output is no terminal
    #[arg(long, env = "NO_COLOR", value_parser = FalseyValueParser::new())]
    no_color: bool,
}

/// How text is shown: with escape sequences of our own, or without any.
#[derive(Clone, Copy)]
pub struct Style {
    colours: bool,
}

/// What text looks like, as ECMA-48 numbers it (SGR).
#[derive(Clone, Copy)]
pub enum Look {
    /// Less important.
    Dim,
    /// A service.
    Name,
    /// An audit entry.
    Audit,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Dim => "2",
            Self::Name => "36",
            Self::Audit => "35",
        }
    }
}

impl Colours {
    /// What the output can show and the user wants to see.
    pub fn style(&self) -> Style {
        Style { colours: !self.no_color && std::io::stdout().is_terminal() }
    }
}

impl Style {
    /// The text in this look.
    pub fn paint(self, look: Look, text: &str) -> String {
        self.sgr(look.code(), text)
    }

    /// Text as it is.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { colours: false }
    }

    fn severity(self, name: &str) -> String {
        let code = match name {
            "TRACE" => "2",
            "DEBUG" => "34",
            "INFO" => "32",
            "WARN" => "33",
            "ERROR" => "31",
            "FATAL" => "1;31",
            _ => return format!("{:<5}", "-"),
        };
        self.sgr(code, &format!("{name:<5}"))
    }

    fn sgr(self, code: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A log line: time, severity, service, message, attributes, and the beginning of the trace id.
pub fn line(line: &Value, style: Style) -> String {
    let service = style.paint(Look::Name, &text(line, "service"));
    let attributes = line.get("attributes").and_then(Value::as_object).into_iter().flatten();
    let trace = line.get("trace_id").and_then(Value::as_str).map(|id| id.chars().take(8).collect::<String>());
    let details = attributes
        .map(|(key, value)| pair(key, value))
        .chain(trace.map(|id| format!("trace={}", plain(&id))))
        .collect::<Vec<_>>()
        .join(" ");
    let parts = [time(line), style.severity(&text(line, "severity")), service, message(line)];
    join(parts.into_iter().chain([style.paint(Look::Dim, &details)]))
}

/// The time of a line or an audit entry, to the millisecond.
pub fn time(item: &Value) -> String {
    let text = text(item, "time");
    match text.get(..23) {
        Some(millis) if text.len() > 24 && text.ends_with('Z') => format!("{millis}Z"),
        _ => text,
    }
}

/// A string member; `-` when there is none.
pub fn text(item: &Value, name: &str) -> String {
    plain(item.get(name).and_then(Value::as_str).unwrap_or("-"))
}

/// `key=value`; text that would be ambiguous is quoted.
pub fn pair(key: &str, value: &Value) -> String {
    let clear = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=');
    let value = match value {
        Value::String(text) if clear(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{}={}", plain(key), plain(&value))
}

/// Parts with a blank between them, without the empty ones.
pub fn join(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The body; a line without one is an event, which has a name.
fn message(line: &Value) -> String {
    match line.get("body") {
        None | Some(Value::Null) => text(line, "event_name"),
        Some(Value::String(body)) => plain(body),
        Some(body) => plain(&body.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Style, line, time};

    const COLOURED: Style = Style { colours: true };

    fn a_line() -> Value {
        json!({
            "time": "2026-01-31T12:00:00.123456789Z", "severity": "WARN", "severity_number": 13, "service": "web",
            "body": "slow", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "attributes": {"ms": 812, "path": "/a b"},
            "resource": {}, "block": "00", "index": 0,
        })
    }

    #[test]
    fn a_line_reads_from_left_to_right() {
        let expected = r#"2026-01-31T12:00:00.123Z WARN  web slow ms=812 path="/a b" trace=4bf92f35"#;
        assert_eq!(line(&a_line(), Style::plain()), expected);
        let short =
            json!({"time": "2026-01-31T12:00:00Z", "severity": "UNSPECIFIED", "service": "db", "attributes": {}});
        assert_eq!(line(&short, Style::plain()), "2026-01-31T12:00:00Z -     db -");
        let event = json!({"time": "t", "severity": "INFO", "service": "db", "event_name": "started"});
        assert_eq!(line(&event, Style::plain()), "t INFO  db started");
        let structured = json!({"time": "t", "severity": "INFO", "service": "db", "body": {"a": [1]}});
        assert_eq!(line(&structured, Style::plain()), r#"t INFO  db {"a":[1]}"#);
    }

    #[test]
    fn colours_are_around_the_text_and_change_nothing_of_it() {
        let coloured = line(&a_line(), COLOURED);
        assert!(
            coloured.contains("\u{1b}[33mWARN \u{1b}[0m \u{1b}[36mweb\u{1b}[0m slow \u{1b}[2mms=812"),
            "{coloured}"
        );
        let mut bare = coloured.clone();
        for code in ["\u{1b}[33m", "\u{1b}[36m", "\u{1b}[2m", "\u{1b}[0m"] {
            bare = bare.replace(code, "");
        }
        assert_eq!(bare, line(&a_line(), Style::plain()));
    }

    #[test]
    fn what_others_wrote_cannot_move_the_cursor() {
        let mut hostile = a_line();
        let sequence = "x\u{1b}[2J\r\n\u{9b}31m";
        for name in ["time", "severity", "service", "body", "trace_id"] {
            hostile[name] = json!(sequence);
        }
        hostile["attributes"] = json!({(sequence): sequence, "o": {(sequence): [sequence]}});
        let shown = line(&hostile, Style::plain());
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert!(shown.contains("x\u{fffd}[2J"));
        hostile["body"] = json!({(sequence): 1});
        assert!(!line(&hostile, Style::plain()).chars().any(char::is_control));
    }

    #[test]
    fn odd_times_are_shown_as_they_are() {
        for odd in ["", "now", "2026-01-31T12:00:00+01:00", "ääääääääääääääääZ"] {
            assert_eq!(time(&json!({"time": odd})), odd);
        }
    }
}
