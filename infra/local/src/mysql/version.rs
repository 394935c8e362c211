//! Which servers know defaults that are expressions.

/// Whether a server's `VERSION()` names MySQL 8.0.13 or MariaDB 10.6, or something later.
pub fn is_supported(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || -> u32 { numbers.next().unwrap_or(0) };
    let found = (next(), next(), next());
    if version.to_ascii_lowercase().contains("mariadb") { found >= (10, 6, 0) } else { found >= (8, 0, 13) }
}

#[cfg(test)]
mod tests {
    use super::is_supported;

    #[test]
    fn the_oldest_versions_are_known() {
        for new in
            ["8.0.13", "8.0.36-0ubuntu0.22.04.1", "8.4.6", "9.1.0", "10.6.0-MariaDB", "10.11.19-MariaDB-0+deb12u1"]
        {
            assert!(is_supported(new), "{new}");
        }
        for old in ["5.7.44", "8.0.12", "10.5.23-MariaDB", "5.5.68-MariaDB", "", "unknown"] {
            assert!(!is_supported(old), "{old}");
        }
    }
}
