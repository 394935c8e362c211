//! Request parameters: each at most once (RFC 6749 section 3.1).

use std::collections::{BTreeMap, BTreeSet};

use url::form_urlencoded;

/// The parameters of a query or a form. Cannot be printed: it may hold secrets.
pub struct Params {
    values: BTreeMap<String, String>,
    repeated: BTreeSet<String>,
}

impl Params {
    /// Reads `application/x-www-form-urlencoded`.
    pub fn parse(encoded: &[u8]) -> Self {
        let (mut values, mut repeated) = (BTreeMap::new(), BTreeSet::new());
        for (name, value) in form_urlencoded::parse(encoded) {
            if values.insert(name.to_string(), value.into_owned()).is_some() {
                repeated.insert(name.into_owned());
            }
        }
        Self { values, repeated }
    }

    /// The value of a parameter; one that is empty counts as left out, one that is repeated as well.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name).filter(|value| !value.is_empty())?;
        (!self.repeated.contains(name)).then_some(value)
    }

    /// Whether any parameter came more than once.
    pub fn any_repeated(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// All of them but `left_out`, encoded again.
    pub fn encode_without(&self, left_out: &[&str]) -> String {
        let kept = self.values.iter().filter(|(name, _)| !left_out.contains(&name.as_str()));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Params;

    #[test]
    fn repeated_and_empty_parameters_have_no_value() {
        let params = Params::parse(b"a=1&b=2&b=2&c=&d=%26+x");
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (Some("1"), None, None));
        assert_eq!(params.get("d"), Some("& x"));
        assert!(params.any_repeated() && !Params::parse(b"a=1").any_repeated());
        assert_eq!(params.encode_without(&["b", "c"]), "a=1&d=%26+x");
    }
}
