//! An error with its causes, for logs and operators.

use std::error::Error;

/// The error and what led to it, in one line. The SDKs' own rendering appends the whole response.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_causes;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn causes_follow_in_order() {
        let inner = std::fmt::Error;
        assert_eq!(with_causes(&Outer(inner)), format!("outer: {inner}"));
    }
}
