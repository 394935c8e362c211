//! Numbers for people, and the circumstances they were taken in.

use std::path::Path;
use std::process::Stdio;

use echo_shared::clock::Clock;
use serde_json::{Map, Value, json};
use tokio::process::Command;

use super::Findings;
use crate::show::table;

/// Progress, beside the results.
pub fn say(what: &str) {
    eprintln!("… {what}");
}

/// `value` with so many digits behind the point.
pub fn round(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

/// The value below which `share` of `values` lie (nearest rank); 0 when there are none.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let rank = (1..=count).find(|&rank| rank as f64 >= share * count as f64).unwrap_or(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Figures for people and for scripts: a name, a value and what it means.
#[derive(Default)]
pub struct Report {
    json: Map<String, Value>,
    rows: Vec<Vec<String>>,
}

impl Report {
    /// A value that is shown as `shown`.
    pub fn note(&mut self, name: &str, value: Value, meaning: &str, shown: String) {
        self.json.insert(name.into(), value);
        self.rows.push(vec![name.into(), shown, meaning.into()]);
    }

    /// So many a second.
    pub fn rate(&mut self, name: &str, value: f64, meaning: &str) {
        self.note(name, json!(round(value, 0)), meaning, format!("{value:.0} /s"));
    }

    /// A bare number.
    pub fn ratio(&mut self, name: &str, value: f64, meaning: &str) {
        self.note(name, json!(round(value, 2)), meaning, format!("{value:.2}"));
    }

    /// Milliseconds.
    pub fn millis(&mut self, name: &str, value: f64, meaning: &str) {
        self.note(name, json!(round(value, 2)), meaning, format!("{value:.2} ms"));
    }

    /// A share of a hundred.
    pub fn percent(&mut self, name: &str, value: f64, meaning: &str) {
        self.note(name, json!(round(value, 2)), meaning, format!("{value:.2} %"));
    }

    /// Puts everything under the heading `title`.
    pub fn file(self, title: &str, found: &mut Findings) {
        found.tables.push(table(&[title, "", ""], &self.rows));
        found.json.extend(self.json);
    }
}

/// Machine, commit and date.
pub async fn circumstances(root: &Path) -> Map<String, Value> {
    let facts =
        [("machine", machine()), ("commit", commit(root).await), ("date", Clock::system().now().date().to_string())];
    facts.into_iter().map(|(name, fact)| (name.to_owned(), json!(fact))).collect()
}

fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_else(|| "unknown".into())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kilobytes: f64 = field("/proc/meminfo", "MemTotal").trim_end_matches("kB").trim().parse().unwrap_or_default();
    let memory = round(kilobytes / 1024.0 / 1024.0, 0);
    format!("{}, {cores} cores, {memory} GB, {}", field("/proc/cpuinfo", "model name"), std::env::consts::ARCH)
}

async fn commit(root: &Path) -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(root).stdin(Stdio::null());
    let answer = git.output().await.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    answer.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::{percentile, round};

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99), percentile(&[], 0.5)), (3.0, 5.0, 0.0));
        assert_eq!(round(1.2345, 2), 1.23);
    }
}
