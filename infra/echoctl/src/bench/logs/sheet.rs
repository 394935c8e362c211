//! Figures beside their aims, and a mark where one is missed.

use serde_json::{Map, Value, json};

use super::super::Findings;
use super::super::report::round;
use crate::show::table;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
    /// Anything.
    None,
}

impl Aim {
    fn missed(self, value: f64) -> bool {
        match self {
            // A figure that is no number is no success.
            Self::AtLeast(least) => value.is_nan() || value < least,
            Self::AtMost(most) => value.is_nan() || value > most,
            Self::None => false,
        }
    }

    fn shown(self, value: f64) -> String {
        let aim = match self {
            Self::AtLeast(least) => format!("at least {least}"),
            Self::AtMost(most) => format!("at most {most}"),
            Self::None => String::new(),
        };
        if self.missed(value) { format!("{aim}: MISSED") } else { aim }
    }
}

/// The table of the log store.
#[derive(Default)]
pub struct Sheet {
    json: Map<String, Value>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// A figure, for people and for scripts, with so many digits behind the point.
    pub fn figure(&mut self, (name, meaning): (&str, &str), value: f64, digits: u8, aim: Aim) {
        self.json.insert(name.into(), json!(round(value, digits.into())));
        let shown = format!("{value:.*}", usize::from(digits));
        self.rows.push(vec![name.into(), shown, aim.shown(value), meaning.into()]);
    }

    /// What people may want to know beside the figures.
    pub fn fact(&mut self, name: &str, shown: String, meaning: &str) {
        self.rows.push(vec![format!("  {name}"), shown, String::new(), meaning.into()]);
    }

    /// Adds everything to what was found.
    pub fn file(self, found: &mut Findings) {
        found.tables.push(table(&["log store", "", "aim", ""], &self.rows));
        found.json.extend(self.json);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Findings;
    use super::{Aim, Sheet};

    #[test]
    fn missed_aims_are_marked() {
        let mut sheet = Sheet::default();
        sheet.figure(("ratio", "bytes"), 5.994, 2, Aim::AtLeast(6.0));
        sheet.figure(("usd", "dollars"), 0.12, 4, Aim::AtMost(0.12));
        sheet.figure(("bare", ""), 1.0, 0, Aim::None);
        sheet.fact("beside", "7 MB".into(), "not for scripts");
        let mut found = Findings::default();
        sheet.file(&mut found);
        let shown = found.tables.concat();
        assert!(shown.contains("5.99") && shown.contains("at least 6: MISSED") && shown.contains("at most 0.12"));
        assert_eq!(shown.matches("MISSED").count(), 1);
        assert_eq!(found.json.len(), 3);
        assert!(Aim::AtMost(1.0).missed(f64::NAN) && Aim::AtLeast(1.0).missed(f64::NAN));
    }
}
