//! The gate: what may not grow unseen. Sizes and round trips are the same on every machine, times are not.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Failure;

/// A binary may grow by this factor over the committed figure.
const GROWTH: f64 = 1.15;
/// No binary may be larger, whatever the committed figure: its start would be slow.
const MAX_BINARY_MB: f64 = 12.0;

/// A function's figures that are gated.
#[derive(Clone, Debug, Default)]
pub struct Gated {
    /// The function.
    pub name: String,
    /// The size of its binary.
    pub binary_mb: f64,
    /// Requests to services per event.
    pub round_trips: f64,
    /// Requests to services per sign-in, of the function that people sign in with.
    pub sign_in_round_trips: Option<f64>,
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
            let mut figures_of = json!({"binary_mb": figures.binary_mb, "round_trips": figures.round_trips});
            if let (Some(object), Some(trips)) = (figures_of.as_object_mut(), figures.sign_in_round_trips) {
                object.insert(SIGN_IN.into(), trips.into());
            }
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
        if figures.binary_mb > MAX_BINARY_MB {
            objections.push(format!("{name}'s binary has {} MB, more than {MAX_BINARY_MB} MB", figures.binary_mb));
        }
        if figures.binary_mb > size * GROWTH {
            let now = figures.binary_mb;
            objections.push(format!("{name}'s binary grew from {size} MB to {now} MB, more than 15 %"));
        }
        if figures.round_trips > trips {
            let now = figures.round_trips;
            objections.push(format!("{name} makes {now} round trips per request, {trips} before"));
        }
        match (figures.sign_in_round_trips, limit(SIGN_IN)) {
            (Some(_), None) => objections.push(format!("{name}'s sign-in has no committed figure")),
            (Some(now), Some(before)) if now > before => {
                objections.push(format!("{name} makes {now} round trips per sign-in, {before} before"));
            }
            _ => {}
        }
        objections
    }
}

/// The key of a sign-in's round trips.
const SIGN_IN: &str = "sign_in_round_trips";

fn path(root: &Path) -> PathBuf {
    root.join("docs/benchmarks/limits.json")
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::{Gated, Limits};

    fn objections(binary_mb: f64, round_trips: f64) -> Vec<String> {
        let limits = Map::from_iter([("login".to_owned(), json!({"binary_mb": 10.0, "round_trips": 3.0}))]);
        let figures = Gated { name: "login".into(), binary_mb, round_trips, ..Gated::default() };
        Limits(limits).objections(&[figures])
    }

    #[test]
    fn no_binary_grows_over_twelve_megabytes() {
        let limits = Limits(Map::from_iter([("a".to_owned(), json!({"binary_mb": 11.9, "round_trips": 1.0}))]));
        let objections = |binary_mb| {
            limits.objections(&[Gated { name: "a".into(), binary_mb, round_trips: 1.0, ..Gated::default() }])
        };
        assert!(objections(12.0).is_empty());
        assert_eq!(objections(12.01), ["a's binary has 12.01 MB, more than 12 MB"]);
    }

    #[test]
    fn a_sign_in_makes_no_more_round_trips_than_it_did() {
        let objections = |committed: serde_json::Value, now| {
            let limits = Limits(Map::from_iter([("login".to_owned(), committed)]));
            let figures = Gated { name: "login".into(), sign_in_round_trips: Some(now), ..Gated::default() };
            limits.objections(&[figures])
        };
        let committed = json!({"binary_mb": 1.0, "round_trips": 0.0, "sign_in_round_trips": 20.0});
        assert!(objections(committed.clone(), 20.0).is_empty());
        assert!(objections(committed, 21.0)[0].contains("21 round trips per sign-in"));
        assert!(objections(json!({"binary_mb": 1.0, "round_trips": 0.0}), 1.0)[0].contains("no committed figure"));
    }

    #[test]
    fn a_little_size_is_let_through_and_no_round_trip() {
        assert!(objections(11.5, 3.0).is_empty());
        assert!(objections(2.0, 1.0).is_empty());
        assert!(objections(11.6, 3.0)[0].contains("login's binary"));
        assert!(objections(10.0, 3.1)[0].contains("round trips"));
        assert_eq!(objections(11.9, 4.0).len(), 2);
    }

    #[test]
    fn a_function_without_figures_is_named() {
        let figures = Gated { name: "new".into(), ..Gated::default() };
        assert!(Limits(Map::new()).objections(&[figures])[0].contains("new has no committed figures"));
    }
}
