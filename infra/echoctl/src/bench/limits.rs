//! The gate: what may not grow unseen. Sizes and round trips are the same on every machine, times are not.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Failure;

/// A binary may grow by this factor over the committed figure.
const GROWTH: f64 = 1.15;

/// A function's figures that are gated.
#[derive(Clone, Debug, Default)]
pub struct Gated {
    /// The function.
    pub name: String,
    /// The size of its binary.
    pub binary_mb: f64,
    /// Requests to services per event.
    pub round_trips: f64,
}

/// The committed figures, `docs/benchmarks/limits.json`.
pub struct Limits(Map<String, Value>);

impl Limits {
    /// Reads them.
    ///
    /// # Errors
    /// When the file is missing or no JSON object.
    pub fn read(root: &Path) -> Result<Self, Failure> {
        let path = path(root);
        let fail = |why: String| format!("{}: {why}; make it with --write-limits", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| fail(error.to_string()))?;
        Ok(Self(serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?))
    }

    /// Takes the figures of the functions that were measured; the others keep theirs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(root: &Path, measured: &[Gated]) -> Result<(), Failure> {
        let mut limits = Self::read(root).map_or_else(|_| Map::new(), |known| known.0);
        for figures in measured {
            let figures_of = json!({"binary_mb": figures.binary_mb, "round_trips": figures.round_trips});
            limits.insert(figures.name.clone(), figures_of);
        }
        std::fs::write(path(root), format!("{}\n", serde_json::to_string_pretty(&limits)?))?;
        Ok(())
    }

    /// What has grown: one sentence per function and figure.
    pub fn objections(&self, measured: &[Gated]) -> Vec<String> {
        measured.iter().flat_map(|figures| self.objections_to(figures)).collect()
    }

    fn objections_to(&self, figures: &Gated) -> Vec<String> {
        let name = &figures.name;
        let limit = |what: &str| self.0.get(name).and_then(|limits| limits.get(what)).and_then(Value::as_f64);
        let (Some(size), Some(trips)) = (limit("binary_mb"), limit("round_trips")) else {
            return vec![format!("{name} has no committed figures; add them with --write-limits")];
        };
        let mut objections = Vec::new();
        if figures.binary_mb > size * GROWTH {
            let now = figures.binary_mb;
            objections.push(format!("{name}'s binary grew from {size} MB to {now} MB, more than 15 %"));
        }
        if figures.round_trips > trips {
            let now = figures.round_trips;
            objections.push(format!("{name} makes {now} round trips per request, {trips} before"));
        }
        objections
    }
}

fn path(root: &Path) -> PathBuf {
    root.join("docs/benchmarks/limits.json")
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::{Gated, Limits};

    fn objections(binary_mb: f64, round_trips: f64) -> Vec<String> {
        let limits = Map::from_iter([("login".to_owned(), json!({"binary_mb": 10.0, "round_trips": 3.0}))]);
        Limits(limits).objections(&[Gated { name: "login".into(), binary_mb, round_trips }])
    }

    #[test]
    fn a_little_size_is_let_through_and_no_round_trip() {
        assert!(objections(11.5, 3.0).is_empty());
        assert!(objections(2.0, 1.0).is_empty());
        assert!(objections(11.6, 3.0)[0].contains("login's binary"));
        assert!(objections(10.0, 3.1)[0].contains("round trips"));
        assert_eq!(objections(20.0, 4.0).len(), 2);
    }

    #[test]
    fn a_function_without_figures_is_named() {
        let figures = Gated { name: "new".into(), ..Gated::default() };
        assert!(Limits(Map::new()).objections(&[figures])[0].contains("new has no committed figures"));
    }
}
