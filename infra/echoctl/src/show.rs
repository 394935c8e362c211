//! What people see.

/// Text from elsewhere, safe for a terminal: no control characters, no escape sequences.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Rows under a header, in columns as wide as they need to be.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = 0..header.len();
    let cell = |row: &[String], column: usize| row.get(column).map_or(0, |text| text.chars().count());
    let widths: Vec<usize> = columns
        .map(|column| {
            let widest = rows.iter().map(|row| cell(row, column)).max().unwrap_or_default();
            widest.max(header.get(column).map_or(0, |name| name.chars().count()))
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(text, width)| format!("{text:<width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{plain, table};

    #[test]
    fn columns_line_up() {
        let rows = [vec!["1".into(), "long value".into()], vec!["22".into(), "x".into()]];
        assert_eq!(table(&["n", "v"], &rows), "n   v\n1   long value\n22  x\n");
    }

    #[test]
    fn escape_sequences_are_defused() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
