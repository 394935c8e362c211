//! Scopes: what is asked for, and what is given.

use crate::store::{Client, User};

/// The scopes that discovery lists; a client's own come on top.
pub const STANDARD: [&str; 3] = ["openid", "profile", "email"];

/// Splits a scope parameter.
///
/// # Errors
/// When it has characters that RFC 6749 section 3.3 does not allow.
pub fn split(scope: &str) -> Result<Vec<&str>, ()> {
    let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let scopes: Vec<&str> = scope.split(' ').filter(|scope| !scope.is_empty()).collect();
    if scopes.iter().all(|scope| scope.bytes().all(allowed)) { Ok(scopes) } else { Err(()) }
}

/// What a person is given of `requested`: what the client may have; `admin` and `*.read` only for the org's admins.
pub fn for_user(requested: &[&str], client: &Client, user: &User) -> String {
    let given = |scope: &&&str| {
        let admins_only = **scope == "admin" || scope.ends_with(".read");
        client.scopes.iter().any(|known| known == **scope) && (!admins_only || user.is_admin())
    };
    let mut scopes: Vec<&str> = Vec::new();
    for scope in requested.iter().filter(given) {
        if !scopes.contains(scope) {
            scopes.push(scope);
        }
    }
    scopes.join(" ")
}

/// What a client is given for itself: all it may have when it does not ask, nothing when it asks for more.
pub fn for_client(requested: &[&str], client: &Client) -> Option<String> {
    if requested.is_empty() {
        return Some(client.scopes.join(" "));
    }
    let may = |scope: &&str| client.scopes.iter().any(|known| known == scope);
    requested.iter().all(may).then(|| requested.join(" "))
}

#[cfg(test)]
mod tests {
    use super::{for_client, for_user, split};
    use crate::store::{Client, User};

    fn client() -> Client {
        let scopes = ["openid", "admin", "audit.read", "events.write"].map(str::to_owned).to_vec();
        Client { id: "c".into(), scopes, ..Client::default() }
    }

    fn user(role: &str) -> User {
        User { id: "u".into(), roles: vec![role.into()], ..User::default() }
    }

    #[test]
    fn people_get_what_client_and_role_allow() {
        let asked = ["openid", "openid", "email", "admin", "audit.read", "events.write"];
        assert_eq!(for_user(&asked, &client(), &user("member")), "openid events.write");
        assert_eq!(for_user(&asked, &client(), &user("admin")), "openid admin audit.read events.write");
    }

    #[test]
    fn clients_get_what_they_were_granted_or_nothing() {
        assert_eq!(for_client(&[], &client()).unwrap(), "openid admin audit.read events.write");
        assert_eq!(for_client(&["admin"], &client()).unwrap(), "admin");
        assert_eq!(for_client(&["admin", "jobs.read"], &client()), None);
    }

    #[test]
    fn odd_characters_are_refused() {
        assert_eq!(split("a  b").unwrap(), ["a", "b"]);
        assert!(split("a\"b").is_err() && split("a\\b").is_err() && split("ä").is_err() && split("a\nb").is_err());
    }
}
