//! Hides what must not be stored: values of attributes with telling names, and secrets in texts.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::secrets::Secrets;

/// What stands where a secret was.
pub(crate) const HIDDEN: &str = "[redacted]";

/// Attributes whose values are always hidden: those that are called so, or whose names end so. Names are compared
/// without `-`, `_` and `.`, so `secret` stands for `clientSecret` and `client_secret`, and `token` for all tokens.
const NAMES: [&str; 15] = [
    "authorization",
    "cookie",
    "cookies",
    "password",
    "passphrase",
    "passwd",
    "pwd",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "secretkey",
    "accesskey",
    "creditcard",
    "cardnumber",
];
/// The same for names that begin so, or whose part behind the last `.` does: `password_hash`, `db.secret_id`.
const PREFIXES: [&str; 3] = ["password", "passwd", "secret"];
/// Never hidden because of its name: headers have it, so that searches find the lines of a service.
const SERVICE: &str = "service.name";
/// The least number of 13 digits: fewer digits are no card number.
const CARD: u64 = 1_000_000_000_000;

/// Knows what to hide. Made once, used by all requests.
pub struct Redactor {
    secrets: Secrets,
}

impl Redactor {
    /// A redactor.
    pub fn new() -> Self {
        Self { secrets: Secrets::new() }
    }

    /// The rules of an org that hides these attributes, too.
    pub(crate) fn rules(&self, own: &[String]) -> Rules<'_> {
        let plain = |name: &String| letters(name).map(char::from).collect();
        Rules { secrets: &self.secrets, own: own.iter().map(plain).filter(|name: &String| !name.is_empty()).collect() }
    }
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

/// What is hidden for one org.
pub(crate) struct Rules<'a> {
    secrets: &'a Secrets,
    /// In lower case, without separators.
    own: Vec<String>,
}

impl Rules<'_> {
    /// Hides what is in a record.
    pub(crate) fn record(&self, record: &mut LogRecord) {
        self.text(&mut record.event_name);
        self.text(&mut record.severity_text);
        if let Some(body) = &mut record.body {
            self.value(body);
        }
        self.attributes(&mut record.attributes);
    }

    /// Hides what is in a scope.
    pub(crate) fn scope(&self, scope: &mut InstrumentationScope) {
        self.text(&mut scope.name);
        self.text(&mut scope.version);
        self.attributes(&mut scope.attributes);
    }

    /// Hides what is in attributes.
    pub(crate) fn attributes(&self, attributes: &mut [KeyValue]) {
        for attribute in attributes {
            if self.hides(&attribute.key) {
                attribute.value = Some(AnyValue { value: Some(Value::StringValue(HIDDEN.into())) });
            } else if let Some(value) = &mut attribute.value {
                self.value(value);
            }
        }
    }

    fn value(&self, value: &mut AnyValue) {
        match &mut value.value {
            Some(Value::StringValue(text)) => self.text(text),
            Some(Value::BytesValue(bytes)) => {
                if let Some(clean) = str::from_utf8(bytes).ok().and_then(|text| self.secrets.hide(text)) {
                    *bytes = clean.into_bytes();
                }
            }
            Some(Value::IntValue(number)) if number.unsigned_abs() >= CARD => {
                if let Some(clean) = self.secrets.hide(&number.to_string()) {
                    value.value = Some(Value::StringValue(clean));
                }
            }
            Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(|value| self.value(value)),
            Some(Value::KvlistValue(list)) => self.attributes(&mut list.values),
            _ => {}
        }
    }

    fn text(&self, text: &mut String) {
        if let Some(clean) = self.secrets.hide(text) {
            *text = clean;
        }
    }

    fn hides(&self, key: &str) -> bool {
        let last = key.rsplit('.').next().unwrap_or(key);
        NAMES.iter().any(|name| begins(letters(key).rev(), name.bytes().rev()))
            || PREFIXES.iter().any(|name| [key, last].iter().any(|key| begins(letters(key), name.bytes())))
            || (key != SERVICE
                && self.own.iter().any(|name| [key, last].iter().any(|key| letters(key).eq(name.bytes()))))
    }
}

/// A name in lower case, without separators.
fn letters(name: &str) -> impl DoubleEndedIterator<Item = u8> {
    name.bytes().filter(|byte| !matches!(byte, b'-' | b'_' | b'.')).map(|byte| byte.to_ascii_lowercase())
}

fn begins(mut letters: impl Iterator<Item = u8>, mut wanted: impl Iterator<Item = u8>) -> bool {
    wanted.all(|wanted| letters.next() == Some(wanted))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::logs::v1::LogRecord;

    use super::{HIDDEN, Redactor};

    fn text(text: &str) -> AnyValue {
        AnyValue { value: Some(Value::StringValue(text.into())) }
    }

    fn attribute(key: &str, value: AnyValue) -> KeyValue {
        KeyValue { key: key.into(), value: Some(value), ..Default::default() }
    }

    #[test]
    fn names_are_compared_in_any_spelling() {
        let redactor = Redactor::new();
        let rules = redactor.rules(&["SSN".into(), "date-of-birth".into(), "_".into()]);
        for key in [
            "authorization",
            "Authorization",
            "proxy-authorization",
            "http.request.header.authorization",
            "cookie",
            "set_cookie",
            "Set-Cookie",
            "password",
            "user.password",
            "DB_PASSWORD",
            "passwd",
            "pwd",
            "secret",
            "client_secret",
            "clientSecret",
            "token",
            "access_token",
            "refresh.token",
            "idToken",
            "api_key",
            "apiKey",
            "x-api-key",
            "apikey",
            "private_key",
            "privateKey",
            "credit_card",
            "creditCard",
            "card-number",
            "ssn",
            "user.ssn",
            "user.dateOfBirth",
            "cookies",
            "aws_secret_key",
            "secretAccessKey",
            "key.passphrase",
            "password_hash",
            "password_changed_at",
            "user.passwd-old",
            "SecretId",
        ] {
            assert!(rules.hides(key), "{key}");
        }
        for key in ["", "_", "tokens", "token_count", "key", "user.name", "access", "ssn_known", "lessn", "mySsn"] {
            assert!(!rules.hides(key), "{key}");
        }
        let rules = redactor.rules(&["Name".into(), "user.id".into(), "service.name".into()]);
        assert!(rules.hides("user.name") && rules.hides("NAME") && rules.hides("user_id"));
        assert!(!rules.hides("service.name") && !rules.hides("hostname") && !rules.hides("id"));
    }

    #[test]
    fn bytes_numbers_and_names_of_events_and_scopes_are_looked_at() {
        let value = |value: Value| AnyValue { value: Some(value) };
        let redactor = Redactor::new();
        let rules = redactor.rules(&[]);
        let body = |body: Value| {
            let mut record = LogRecord { body: Some(value(body)), ..Default::default() };
            rules.record(&mut record);
            record.body.unwrap().value.unwrap()
        };
        assert_eq!(body(Value::BytesValue(b"password=x".into())), Value::BytesValue(b"password=[redacted]".into()));
        let no_text = Value::BytesValue(b"\xffpassword=x".into());
        assert_eq!(body(no_text.clone()), no_text);
        assert_eq!(body(Value::IntValue(4_111_111_111_111_111)), Value::StringValue(HIDDEN.into()));
        assert_eq!(body(Value::IntValue(4_111_111_111_111_112)), Value::IntValue(4_111_111_111_111_112));
        let secret = || "token=x".to_owned();
        let mut record = LogRecord { event_name: secret(), severity_text: secret(), ..Default::default() };
        rules.record(&mut record);
        assert_eq!([record.event_name, record.severity_text], ["token=[redacted]"; 2]);
        let mut scope = InstrumentationScope { name: secret(), version: secret(), ..Default::default() };
        rules.scope(&mut scope);
        assert_eq!([scope.name, scope.version], ["token=[redacted]"; 2]);
    }

    #[test]
    fn values_of_every_type_are_hidden_at_every_depth() {
        let number = AnyValue { value: Some(Value::IntValue(1234)) };
        let list = KeyValueList { values: vec![attribute("pwd", number), attribute("a", text("b"))] };
        let array = ArrayValue { values: vec![AnyValue { value: Some(Value::KvlistValue(list)) }, text("Bearer x1")] };
        let nested = AnyValue { value: Some(Value::ArrayValue(array)) };
        let mut record = LogRecord {
            body: Some(nested.clone()),
            attributes: vec![attribute("token", nested.clone()), attribute("nested", nested)],
            ..Default::default()
        };
        Redactor::new().rules(&[]).record(&mut record);
        let clean = |value: &AnyValue| {
            let Some(Value::ArrayValue(array)) = &value.value else { panic!("{value:?}") };
            let Some(Value::KvlistValue(list)) = &array.values[0].value else { panic!("{array:?}") };
            assert_eq!(list.values, [attribute("pwd", text(HIDDEN)), attribute("a", text("b"))]);
            assert_eq!(array.values[1], text("Bearer [redacted]"));
        };
        clean(record.body.as_ref().unwrap());
        assert_eq!(record.attributes[0].value, Some(text(HIDDEN)));
        clean(record.attributes[1].value.as_ref().unwrap());
    }
}
