//! Secrets in texts: found by the words before them, or by what they look like.
//!
//! Every search goes through a text once, whatever is in it: a sender cannot make it slow. Where it is not clear how far
//! a secret goes, it goes far.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use crate::card::cards;
use crate::redact::HIDDEN;

/// What stands before a secret: a name with `=` or `:` (in quotes where it is JSON, with backslashes where that is in
/// JSON, or as they stand in URLs), as an element of XML, or as an option of a program; or a scheme of HTTP. And what a
/// JSON Web Token begins with. All bounded in length; how long the secret is, is looked up from its place.
const TRIGGERS: &str = concat!(
    "(?i-u)",
    "(?:authorization|cookie|passw(?:or)?d|passphrase|pwd|secret|token",
    "|(?:api|private|secret|access)[-_.]?key|credit[-_.]?card|card[-_.]?number)",
    r#"(?:(?:\\{0,7}["'])?[ \t]{0,4}(?:=[=>]?|:=?|%3[ad])[ \t]{0,4}|>|[ \t]{1,4})"#,
    r"|\b(?:bearer|basic)[ \t]{1,4}",
    r"|(?-i:eyJ)",
);

/// The schemes of `Authorization` that are followed by more than a word, or may be.
const SCHEMES: [&str; 9] =
    ["bearer", "basic", "token", "digest", "negotiate", "apikey", "aws4-hmac-sha256", "hawk", "dpop"];

/// What follows `Bearer` where no token does.
const PROSE: [&str; 18] = [
    "token",
    "tokens",
    "auth",
    "authentication",
    "authorization",
    "scheme",
    "header",
    "credentials",
    "realm",
    "error",
    "is",
    "was",
    "of",
    "in",
    "and",
    "or",
    "required",
    "missing",
];

/// Fewer digits are no card number.
const CARD_DIGITS: usize = 13;
/// The header of a JSON Web Token has at least so many letters: it names an algorithm.
const TOKEN_HEADER: usize = 12;
/// The most backslashes before a quote: JSON in JSON in JSON in JSON.
const MAX_ESCAPED: usize = 7;

/// Finds secrets in texts.
pub(crate) struct Secrets {
    /// `None` when it did not compile, which a test rules out: all texts are hidden then.
    triggers: Option<Regex>,
}

impl Secrets {
    pub(crate) fn new() -> Self {
        Self { triggers: Regex::new(TRIGGERS).ok() }
    }

    /// The text without its secrets; `None` when it has none.
    pub(crate) fn hide(&self, text: &str) -> Option<String> {
        let (mut marks, mut digits) = (false, 0);
        for byte in text.bytes() {
            match byte {
                // Without one of them there is neither a name with a value, nor a scheme, URL or token.
                b'=' | b':' | b' ' | b'\t' | b'.' | b'>' | b'%' => marks = true,
                b'0'..=b'9' => digits += 1,
                _ => {}
            }
        }
        let mut found = Vec::new();
        if marks {
            self.named(text, &mut found);
            user_info(text, &mut found);
        }
        if digits >= CARD_DIGITS {
            cards(text, &mut found);
        }
        (!found.is_empty()).then(|| replace(text, found))
    }

    /// Secrets that [`TRIGGERS`] announce.
    fn named(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let Some(triggers) = &self.triggers else {
            found.push(0..text.len());
            return;
        };
        let mut at = 0;
        while let Some(trigger) = triggers.find_at(text, at) {
            let secret = secret(text, trigger.as_str(), trigger.range());
            at = secret.end.max(trigger.end());
            if !secret.is_empty() {
                found.push(secret);
            }
        }
    }
}

/// Puts [`HIDDEN`] where the secrets are.
fn replace(text: &str, mut secrets: Vec<Range<usize>>) -> String {
    secrets.sort_unstable_by_key(|secret| secret.start);
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    for secret in secrets {
        if secret.start >= at {
            clean.push_str(text.get(at..secret.start).unwrap_or_default());
            clean.push_str(HIDDEN);
        }
        at = at.max(secret.end);
    }
    clean.push_str(text.get(at..).unwrap_or_default());
    clean
}

/// Where the secret is that a trigger announces; empty when there is none, and the search goes on at its end.
fn secret(text: &str, trigger: &str, place: Range<usize>) -> Range<usize> {
    if trigger == "eyJ" {
        return web_token(text, place.start);
    }
    let (before, rest) = (text.get(..place.start).unwrap_or_default(), text.get(place.end..).unwrap_or_default());
    let within = if starts_with(trigger, "bearer") || starts_with(trigger, "basic") {
        0..credentials(trigger, rest)
    } else if trigger.contains(['=', ':', '%']) {
        value(trigger, rest)
    } else if trigger.ends_with('>') {
        0..element(before, rest)
    } else if is_option(before) && !rest.starts_with("--") {
        value(trigger, rest)
    } else {
        0..0
    };
    place.end + within.start..place.end + within.end
}

/// A JSON Web Token: a header, and two dots or more in the same run of letters. What was looked at without finding one is
/// not looked at again.
fn web_token(text: &str, start: usize) -> Range<usize> {
    let of_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    let header = rest.iter().take_while(|byte| of_part(byte)).count();
    if header < TOKEN_HEADER {
        return start + header..start + header;
    }
    let run = rest.iter().take_while(|byte| of_part(byte) || **byte == b'.');
    let (length, dots) = run.fold((0, 0), |(length, dots), byte| (length + 1, dots + usize::from(*byte == b'.')));
    let end = start + length;
    if dots >= 2 { start..end } else { end..end }
}

/// The length of what follows `Bearer` or `Basic` (RFC 6750 section 2.1), when it is no prose.
fn credentials(scheme: &str, rest: &str) -> usize {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let length = rest.bytes().take_while(of_token).count();
    let word = rest.get(..length).unwrap_or_default();
    let secret = if starts_with(scheme, "basic") {
        // RFC 7617: a name, a colon and a password in base64. "Basic" begins many a sentence.
        let whole = word.get(..length / 4 * 4).unwrap_or_default();
        STANDARD.decode(whole).is_ok_and(|bytes| bytes.contains(&b':'))
    } else {
        let word = word.trim_end_matches(['.', '=']);
        !PROSE.iter().any(|prose| word.eq_ignore_ascii_case(prose))
    };
    if secret { length } else { 0 }
}

/// The length of the content of an element of XML, when `before` ends as such an element begins: not as `Option<Token>`
/// or `parse::<Token>` do.
fn element(before: &str, rest: &str) -> usize {
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let outside = before.trim_end_matches(of_name).strip_suffix('<');
    if outside.is_none_or(|outside| outside.ends_with(of_name)) {
        return 0;
    }
    rest.find('<').unwrap_or(rest.len())
}

/// Whether `before` ends as the name of a program's option begins.
fn is_option(before: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    before.get(before.trim_end_matches(of_name).len()..).is_some_and(|name| name.starts_with("--"))
}

/// Where the value behind a name is: in quotes, a list, to the end of the line for headers, or a word.
fn value(name: &str, rest: &str) -> Range<usize> {
    if let Some(quoted) = quoted(rest) {
        return quoted;
    }
    let is_path = name.ends_with(':') && rest.starts_with(':');
    // What somebody else hid, a path in a program, or an object, whose members have names of their own.
    if rest.starts_with(HIDDEN) || rest.starts_with('{') || is_path {
        return 0..0;
    }
    let is_line = starts_with(name, "cookie") || (starts_with(name, "authorization") && has_scheme(rest));
    0..match rest.bytes().next() {
        Some(b'[') => list(rest),
        _ if is_line => rest.find(['\r', '\n']).unwrap_or(rest.len()),
        _ => word(rest),
    }
}

/// Whether a scheme of HTTP and more stand at the start.
fn has_scheme(rest: &str) -> bool {
    let word = rest.split([' ', '\t', '\r', '\n']).next().unwrap_or_default();
    let more = rest.get(word.len()..).is_some_and(|more| more.starts_with([' ', '\t']));
    more && SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// The length of a list, to the bracket that closes it; what stands in quotes closes nothing. To the end when none does.
fn list(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = rest.as_bytes().get(at) {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b'"' | b'\'' | b'\\' => {
                // As many backslashes stand before the quote that closes as before the one that opens.
                at += rest.get(at..).and_then(quoted).map_or(0, |quoted| quoted.end + quoted.start - 1);
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn word(rest: &str) -> usize {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b",;&\"')]}<>".contains(byte);
    rest.bytes().take_while(|byte| !ends(byte)).count()
}

/// Where the content is of what begins with a quote, which is `\"` where JSON stands in JSON, and has three or seven
/// backslashes where that stands in JSON again. To the end when the quote is not closed.
fn quoted(rest: &str) -> Option<Range<usize>> {
    let depth = rest.bytes().take_while(|byte| *byte == b'\\').take(MAX_ESCAPED + 1).count();
    let quote = *rest.as_bytes().get(depth)?;
    if !matches!(quote, b'"' | b'\'') {
        return None;
    }
    let start = depth + 1;
    let mut backslashes = 0;
    for (at, byte) in rest.bytes().enumerate().skip(start) {
        match byte {
            b'\\' => backslashes += 1,
            // A backslash of the content is written as two of them, or four, eight, sixteen.
            _ if byte == quote && backslashes % (2 * start) == depth => return Some(start..at - depth),
            _ => backslashes = 0,
        }
    }
    Some(start..rest.len())
}

/// What stands between `://` and `@` (RFC 3986 section 3.2.1).
fn user_info(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, mark) in text.match_indices("://") {
        let start = at + mark.len();
        let rest = text.get(start..).unwrap_or_default();
        let ends = |byte: u8| byte.is_ascii_whitespace() || b"/?#\"'<>\\".contains(&byte);
        let authority = rest.bytes().position(ends).and_then(|end| rest.get(..end)).unwrap_or(rest);
        match authority.rfind('@') {
            Some(length) if length > 0 => found.push(start..start + length),
            _ => {}
        }
    }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl";

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        let secrets = Secrets::new();
        assert!(secrets.triggers.is_some());
        for (text, clean) in [
            ("password=hunter2", "password=[redacted]"),
            ("password=hunter2 user=u1", "password=[redacted] user=u1"),
            ("login?user=u1&password=x&next=/", "login?user=u1&password=[redacted]&next=/"),
            ("DB_PASSWORD = x, HOST = y", "DB_PASSWORD = [redacted], HOST = y"),
            ("passwd: x", "passwd: [redacted]"),
            ("pwd=päßword rest", "pwd=[redacted] rest"),
            (r#"{"password": "x", "a": 1}"#, r#"{"password": "[redacted]", "a": 1}"#),
            (r#"{"password":"a\"b","a":1}"#, r#"{"password":"[redacted]","a":1}"#),
            (r#"{"password":"a\\","a":1}"#, r#"{"password":"[redacted]","a":1}"#),
            (r#"{"password":"never closed"#, r#"{"password":"[redacted]"#),
            (r#"{"password":12345,"a":1}"#, r#"{"password":[redacted],"a":1}"#),
            (r#"{\"password\": \"x\", \"a\": 1}"#, r#"{\"password\": \"[redacted]\", \"a\": 1}"#),
            (r#"{\"password\":\"a\\\"b\",\"a\":1}"#, r#"{\"password\":\"[redacted]\",\"a\":1}"#),
            ("{'password': 'x y', 'a': 1}", "{'password': '[redacted]', 'a': 1}"),
            (r#"{"password" => "x"}"#, r#"{"password" => "[redacted]"}"#),
            ("token=abc", "token=[redacted]"),
            ("(access_token=abc)", "(access_token=[redacted])"),
            ("refresh-token: abc; id_token: def", "refresh-token: [redacted]; id_token: [redacted]"),
            ("client_secret=s&grant_type=x", "client_secret=[redacted]&grant_type=x"),
            ("X-Api-Key: k", "X-Api-Key: [redacted]"),
            ("apiKey=k private_key=p", "apiKey=[redacted] private_key=[redacted]"),
            ("credit_card=x card-number=y", "credit_card=[redacted] card-number=[redacted]"),
            ("Cookie: a=b; c=d\nHost: h", "Cookie: [redacted]\nHost: h"),
            ("Set-Cookie: a=b; Path=/", "Set-Cookie: [redacted]"),
            ("Authorization: Bearer abc", "Authorization: [redacted]"),
            ("Authorization: Bearer abc, status 200", "Authorization: [redacted]"),
            ("authorization=Basic x status=200\nnext", "authorization=[redacted]\nnext"),
            ("authorization=abc status=200", "authorization=[redacted] status=200"),
            ("authorization: abc status: 200", "authorization: [redacted] status: 200"),
            (
                "Authorization: AWS4-HMAC-SHA256 Credential=a/b, Signature=c\nHost: h",
                "Authorization: [redacted]\nHost: h",
            ),
            ("authorization: DPoP abc.def-ghi", "authorization: [redacted]"),
            (r#"{"Cookie":["sid=abc"],"password":["x"]}"#, r#"{"Cookie":[redacted],"password":[redacted]}"#),
            (r#"{"Cookie":["a]b\"]c"],"a":1}"#, r#"{"Cookie":[redacted],"a":1}"#),
            (r#"{\"Cookie\":[\"a]b\"],\"a\":1}"#, r#"{\"Cookie\":[redacted],\"a\":1}"#),
            ("map[Accept:[*/*] Cookie:[sid=abc] Host:[h]]", "map[Accept:[*/*] Cookie:[redacted] Host:[h]]"),
            ("password=[[x] [y]] z", "password=[redacted] z"),
            ("password=[never closed", "password=[redacted]"),
            ("password=(hunter2) z", "password=[redacted]) z"),
            ("password=:hunter2 z", "password=[redacted] z"),
            ("secret_key=a aws_secret_access_key=b", "secret_key=[redacted] aws_secret_access_key=[redacted]"),
            ("access-key: a, passphrase=b", "access-key: [redacted], passphrase=[redacted]"),
            ("<user>u</user><password>x y</password>", "<user>u</user><password>[redacted]</password>"),
            ("<ns:Password>x</ns:Password> z", "<ns:Password>[redacted]</ns:Password> z"),
            ("run --password x --db-token y --force", "run --password [redacted] --db-token [redacted] --force"),
            (r#"{\\\"password\\\":\\\"a b\\\",\\\"c\\\":1}"#, r#"{\\\"password\\\":\\\"[redacted]\\\",\\\"c\\\":1}"#),
            (r#"\\\\\\\"pwd\\\\\\\":\\\\\\\"a b\\\\\\\",c"#, r#"\\\\\\\"pwd\\\\\\\":\\\\\\\"[redacted]\\\\\\\",c"#),
            ("url=%2F%3Fpassword%3Dx&next=y", "url=%2F%3Fpassword%3D[redacted]&next=y"),
            ("Authorization: Digest username=\"u\", response=\"r\"\nHost: h", "Authorization: [redacted]\nHost: h"),
            (r#""authorization": "Bearer abc""#, r#""authorization": "[redacted]""#),
            ("got Bearer abc from u1", "got Bearer [redacted] from u1"),
            ("bearer abc.def-ghi_j/k+l==", "bearer [redacted]"),
            ("with Basic dXNlcjpwYXNz now", "with Basic [redacted] now"),
            ("https://user:pass@host/path", "https://[redacted]@host/path"),
            ("to postgres://u:p@ss@db:5432/x?a=b@c", "to postgres://[redacted]@db:5432/x?a=b@c"),
            ("https://key@host https://host/@x", "https://[redacted]@host https://host/@x"),
            ("paid with 4111 1111 1111 1111.", "paid with [redacted]."),
            ("card 4111111111111111, password=x", "card [redacted], password=[redacted]"),
        ] {
            assert_eq!(secrets.hide(text).as_deref(), Some(clean), "{text}");
            let again = secrets.hide(clean);
            assert_eq!(again.as_deref().unwrap_or(clean), clean, "hiding twice changes nothing: {text}");
        }
        let jwt = format!("before {JWT}, after");
        assert_eq!(secrets.hide(&jwt).as_deref(), Some("before [redacted], after"));
        assert_eq!(secrets.hide(JWT).as_deref(), Some("[redacted]"));
        assert_eq!(secrets.hide(&format!("jwt:{JWT}.")).as_deref(), Some("jwt:[redacted]"));
        assert_eq!(secrets.hide(&format!("a=Bearer%20{JWT}")).as_deref(), Some("a=Bearer%20[redacted]"));
        assert_eq!(secrets.hide(&format!(r"a\n{JWT}")).as_deref(), Some(r"a\n[redacted]"));
        assert_eq!(secrets.hide(&format!("heyJude.{JWT}")).as_deref(), Some("heyJude.[redacted]"));
    }

    #[test]
    fn what_is_no_secret_survives() {
        let secrets = Secrets::new();
        for text in [
            "",
            "hello",
            "GET /audit/v1/events?limit=10 HTTP/1.1",
            "2026-01-01T00:00:00.123456789Z INFO request{id=0190a0b0-0000-7000-8000-000000000001}: answered",
            "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "550e8400-e29b-41d4-a716-446655440000",
            "at 1700000000123456789 ns, 1767225600000 ms",
            "order 4111111111111112 shipped",
            "max_tokens=100 token_count=5 cookies=3",
            "the password was changed; no secret here, no token",
            "echo_shared::token::verify",
            "a bearer token is required",
            "WWW-Authenticate: Bearer realm=\"echo\", error=\"invalid_token\"",
            "basic authentication failed, see Basic usage",
            "password=",
            "{\"password\": \"\", \"token\": {\"a\": \"b\"}}",
            "see https://host/path and mail a@b.example",
            "eyJhbGciOiJFUzI1NiJ9 alone",
            "keyJacket.a.b",
            "Option<Token> and parse::<Token> of <b>no token</b>",
            "if tokens > 5, password>",
            "token: [redacted], password=[redacted]",
            "run --token --force",
        ] {
            assert_eq!(secrets.hide(text), None, "{text}");
        }
    }

    /// Bytes from a generator: printable ASCII with the characters that matter, and others.
    fn noise(seed: u64, length: usize) -> String {
        let parts = [
            "password",
            "token",
            "Bearer ",
            "Basic ",
            "eyJ",
            "://",
            "@",
            "=",
            ":",
            " ",
            "\"",
            "\\",
            "'",
            "\n",
            ".",
            "-",
            "4111",
            "1111",
            "é",
            "\u{1f600}",
            "\u{0}",
            "a",
            "authorization",
            "cookie",
            "[redacted]",
            "{",
            "api",
            "_",
            "key",
        ];
        let mut state = seed;
        let next = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(*state >> 33).unwrap()
        };
        (0..length).map(|_| parts[next(&mut state) % parts.len()]).collect()
    }

    #[test]
    fn no_text_makes_it_panic() {
        let secrets = Secrets::new();
        for seed in 0..2_000 {
            let text = noise(seed, 60);
            if let Some(clean) = secrets.hide(&text) {
                assert!(clean.contains("[redacted]"), "{text}");
            }
        }
    }

    #[test]
    fn no_text_makes_it_slow() {
        let secrets = Secrets::new();
        for part in [
            "eyJ-",
            "eyJ.",
            "password=",
            "password=[",
            "password=[\\",
            "password=['",
            "<password>",
            "--token",
            "--token ",
            "a-token>",
            "token=\\\"",
            "Bearer ",
            "authorization: ",
            "4111-",
            "4111 ",
            "://",
            "\\",
        ] {
            // A search that begins anew at every place would take minutes.
            secrets.hide(&part.repeat(20_000));
        }
    }
}
