//! The decision itself: Cedar over one version of an org's policies. No AWS and no HTTP here.
//!
//! Invariant: whatever is unexpected ends as DENY with a reason, or as an error; never as ALLOW.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision as CedarDecision, Effect, Entities, EntityTypeName, EntityUid,
    Policy, PolicyId, PolicySet, Request, Schema, SchemaFragment, ValidationMode, Validator,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Policy as code: a schema in Cedar's syntax and named policy files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The text of `schema.cedarschema`.
    pub schema: String,
    /// Name and text of each `*.cedar` file, ordered by name.
    pub files: Vec<(String, String)>,
}

/// One compiled version of an org's policies.
pub struct Version {
    number: u64,
    schema: Schema,
    policies: PolicySet,
    /// Declared attributes of entity types and of actions' contexts.
    entity_attributes: HashMap<String, HashSet<String>>,
    context_attributes: HashMap<String, HashSet<String>>,
}

/// Policies that cannot be used. The text names file and place.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(String);

/// Who asks.
#[derive(Clone, Debug)]
pub struct Principal {
    /// `User` or `Client`.
    pub kind: &'static str,
    /// The token's subject.
    pub id: String,
    /// The token's tenant.
    pub org: String,
    /// The token's roles.
    pub roles: Vec<String>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The action's name.
    pub action: String,
    /// The resource's entity type.
    pub resource_type: String,
    /// The resource's id.
    pub resource_id: String,
    /// Its attributes, from a caller who may be believed.
    pub properties: Map<String, Value>,
    /// The request's context.
    pub context: Map<String, Value>,
}

/// Why a decision is as it is: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A policy permits it.
    Permitted,
    /// No policy permits it.
    NoPermit,
    /// A policy forbids it.
    ExplicitForbid,
    /// The subject's token is no good.
    TokenInvalid,
    /// The subject's token has expired.
    TokenExpired,
    /// The subject's token is for another audience.
    TokenAudience,
    /// The subject is not of the caller's org, or of a type the schema does not know.
    UnknownPrincipal,
    /// The schema does not know the resource's type.
    UnknownResourceType,
    /// The schema does not know the action.
    UnknownAction,
    /// An attribute has the wrong type, or the action does not apply.
    RequestInvalidAgainstSchema,
    /// A forbidding policy could not be evaluated.
    EvaluationError,
}

impl Reason {
    /// The code on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::NoPermit => "no_permit",
            Self::ExplicitForbid => "explicit_forbid",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::TokenAudience => "token_audience",
            Self::UnknownPrincipal => "unknown_principal",
            Self::UnknownResourceType => "unknown_resource_type",
            Self::UnknownAction => "unknown_action",
            Self::RequestInvalidAgainstSchema => "request_invalid_against_schema",
            Self::EvaluationError => "evaluation_error",
        }
    }
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why.
    pub reason: Reason,
    /// The determining policies' `@id`s, in order.
    pub policies: Vec<String>,
    /// The policies' version, when it came to asking them.
    pub version: Option<u64>,
}

impl Decision {
    /// A refusal before any policy was asked.
    pub fn refused(reason: Reason) -> Self {
        Self { reason, policies: Vec::new(), version: None }
    }

    /// Whether the answer is ALLOW.
    pub fn allowed(&self) -> bool {
        self.reason == Reason::Permitted
    }
}

impl Version {
    /// Parses and strictly validates policies.
    ///
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn compile(number: u64, source: &Source) -> Result<Self, SourceError> {
        let in_schema = |error: &dyn std::fmt::Display| SourceError(format!("schema.cedarschema: {error}"));
        let (fragment, _) = SchemaFragment::from_cedarschema_str(&source.schema).map_err(|error| in_schema(&error))?;
        let json = fragment.clone().to_json_value().map_err(|error| in_schema(&error))?;
        let schema = Schema::from_schema_fragments([fragment]).map_err(|error| in_schema(&error))?;
        let policies = policy_set(source)?;
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            return Err(SourceError(error.to_string()));
        }
        let (entity_attributes, context_attributes) = declared(&json);
        Ok(Self { number, schema, policies, entity_attributes, context_attributes })
    }

    /// Decides.
    pub fn decide(&self, principal: &Principal, question: &Question) -> Decision {
        let (reason, policies) = match self.evaluate(principal, question) {
            Ok(evaluated) => evaluated,
            Err(reason) => (reason, Vec::new()),
        };
        Decision { reason, policies, version: Some(self.number) }
    }

    fn evaluate(&self, principal: &Principal, question: &Question) -> Result<(Reason, Vec<String>), Reason> {
        let invalid = Reason::RequestInvalidAgainstSchema;
        let action = uid("Action", &question.action).ok_or(Reason::UnknownAction)?;
        if !self.schema.actions().any(|known| *known == action) {
            return Err(Reason::UnknownAction);
        }
        let resource = self.known(&question.resource_type, &question.resource_id).ok_or(Reason::UnknownResourceType)?;
        let subject = self.known(principal.kind, &principal.id).ok_or(Reason::UnknownPrincipal)?;

        // The tenant comes from the token. A trusted caller may name another's resource, which only narrows.
        let mut properties = question.properties.clone();
        properties.entry("org").or_insert_with(|| principal.org.clone().into());
        let own = json!({"org": principal.org, "roles": principal.roles});
        let entities = json!([
            entity(principal.kind, &principal.id, self.attributes(principal.kind, own.as_object())),
            entity(
                &question.resource_type,
                &question.resource_id,
                self.attributes(&question.resource_type, Some(&properties)),
            ),
        ]);
        // Asking about oneself: one entity, and the token's word on it.
        let entities = match (subject == resource, entities) {
            (true, Value::Array(both)) => Value::Array(both.into_iter().take(1).collect()),
            (_, entities) => entities,
        };
        let entities = Entities::from_json_value(entities, Some(&self.schema)).map_err(|_| invalid)?;
        let context = keep(&question.context, self.context_attributes.get(&question.action));
        let context =
            Context::from_json_value(Value::Object(context), Some((&self.schema, &action))).map_err(|_| invalid)?;
        let request = Request::new(subject, action, resource, context, Some(&self.schema)).map_err(|_| invalid)?;

        let answer = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let forbids = |id: &PolicyId| self.policies.policy(id).is_none_or(|policy| policy.effect() == Effect::Forbid);
        let errored = answer.diagnostics().errors().any(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => forbids(error.policy_id()),
        });
        let mut policies: Vec<String> = answer.diagnostics().reason().map(|id| self.shown(id)).collect();
        policies.sort();
        let reason = match answer.decision() {
            _ if errored => Reason::EvaluationError,
            CedarDecision::Allow => Reason::Permitted,
            CedarDecision::Deny if policies.is_empty() => Reason::NoPermit,
            CedarDecision::Deny => Reason::ExplicitForbid,
        };
        Ok((reason, policies))
    }

    fn known(&self, kind: &str, id: &str) -> Option<EntityUid> {
        self.entity_attributes.contains_key(kind).then(|| uid(kind, id)).flatten()
    }

    fn attributes(&self, kind: &str, given: Option<&Map<String, Value>>) -> Map<String, Value> {
        given.map(|given| keep(given, self.entity_attributes.get(kind))).unwrap_or_default()
    }

    fn shown(&self, id: &PolicyId) -> String {
        self.policies.annotation(id, "id").map_or_else(|| id.to_string(), Into::into)
    }
}

fn policy_set(source: &Source) -> Result<PolicySet, SourceError> {
    let mut all = PolicySet::new();
    for (name, text) in &source.files {
        let in_file = |error: &dyn std::fmt::Display| SourceError(format!("{name}: {error}"));
        let parsed = PolicySet::from_str(text).map_err(|error| in_file(&error))?;
        if parsed.templates().next().is_some() {
            return Err(in_file(&"templates are not supported"));
        }
        for (index, policy) in parsed.policies().enumerate() {
            let id = PolicyId::new(format!("{name}#{index}"));
            all.add(Policy::new_id(policy, id)).map_err(|error| in_file(&error))?;
        }
    }
    Ok(all)
}

fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    let kind = EntityTypeName::from_str(kind).ok()?;
    Some(EntityUid::from_type_name_and_id(kind, cedar_policy::EntityId::new(id)))
}

fn entity(kind: &str, id: &str, attributes: Map<String, Value>) -> Value {
    json!({"uid": {"type": kind, "id": id}, "attrs": attributes, "parents": []})
}

/// What the schema declares, without nulls. A strictly validated policy cannot read the rest, so leaving it out is safe.
fn keep(given: &Map<String, Value>, declared: Option<&HashSet<String>>) -> Map<String, Value> {
    let known = |name: &String| declared.is_some_and(|declared| declared.contains(name));
    given.iter().filter(|(name, value)| known(name) && !value.is_null()).map(|(n, v)| (n.clone(), v.clone())).collect()
}

type Declared = HashMap<String, HashSet<String>>;

/// Attribute names per entity type and per action's context, from the schema's JSON form.
fn declared(schema: &Value) -> (Declared, Declared) {
    let (mut entities, mut contexts) = (Declared::new(), Declared::new());
    for (namespace, body) in schema.as_object().into_iter().flatten() {
        let members = |name: &str| body.get(name).and_then(Value::as_object).into_iter().flatten();
        for (kind, shape) in members("entityTypes") {
            let full = if namespace.is_empty() { kind.clone() } else { format!("{namespace}::{kind}") };
            entities.insert(full, names(shape.pointer("/shape/attributes")));
        }
        for (action, shape) in members("actions") {
            contexts.insert(action.clone(), names(shape.pointer("/appliesTo/context/attributes")));
        }
    }
    (entities, contexts)
}

fn names(attributes: Option<&Value>) -> HashSet<String> {
    attributes.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Principal, Question, Reason, Source, Version};

    fn demo() -> Source {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/policies/demo/");
        let read = |name: &str| std::fs::read_to_string(format!("{folder}{name}")).unwrap();
        let files = ["admins.cedar", "members.cedar", "owners.cedar"];
        Source {
            schema: read("schema.cedarschema"),
            files: files.iter().map(|name| ((*name).to_owned(), read(name))).collect(),
        }
    }

    fn user(role: &str) -> Principal {
        Principal { kind: "User", id: "u1".into(), org: "demo".into(), roles: vec![role.into()] }
    }

    fn ask(action: &str, properties: Value) -> Question {
        Question {
            action: action.into(),
            resource_type: "Document".into(),
            resource_id: "d1".into(),
            properties: properties.as_object().cloned().unwrap(),
            context: serde_json::Map::new(),
        }
    }

    fn reason(principal: &Principal, question: &Question) -> Reason {
        Version::compile(1, &demo()).unwrap().decide(principal, question).reason
    }

    #[test]
    fn the_demo_policies_say_what_they_are_meant_to() {
        use Reason::{NoPermit, Permitted};
        let owned = json!({"owner": {"type": "User", "id": "u1"}});
        let others = json!({"owner": {"type": "User", "id": "u2"}});
        for (role, action, properties, expected) in [
            ("admin", "delete", json!({}), Permitted),
            ("admin", "delete", json!({"org": "acme"}), NoPermit),
            ("member", "read", json!({}), Permitted),
            ("member", "read", json!({"org": "acme"}), NoPermit),
            ("member", "write", json!({}), NoPermit),
            ("member", "write", owned.clone(), Permitted),
            ("member", "write", others, NoPermit),
            ("member", "delete", owned.clone(), NoPermit),
            ("stranger", "read", json!({}), NoPermit),
        ] {
            assert_eq!(reason(&user(role), &ask(action, properties.clone())), expected, "{role} {action} {properties}");
        }
        let service = Principal { kind: "Client", ..user("admin") };
        assert_eq!(reason(&service, &ask("read", owned)), NoPermit);
    }

    #[test]
    fn the_unknown_is_denied_by_name() {
        let mut question = ask("read", json!({}));
        question.resource_type = "Spaceship".into();
        assert_eq!(reason(&user("admin"), &question), Reason::UnknownResourceType);
        question.resource_type = "not a type".into();
        assert_eq!(reason(&user("admin"), &question), Reason::UnknownResourceType);
        assert_eq!(reason(&user("admin"), &ask("fly", json!({}))), Reason::UnknownAction);
        let stranger = Principal { kind: "Robot", ..user("admin") };
        assert_eq!(reason(&stranger, &ask("read", json!({}))), Reason::UnknownPrincipal);
    }

    #[test]
    fn undeclared_properties_are_left_out_and_wrong_types_denied() {
        assert_eq!(reason(&user("member"), &ask("read", json!({"colour": 1.5, "title": null}))), Reason::Permitted);
        for wrong in [json!({"title": 7}), json!({"owner": "u1"}), json!({"owner": {"type": "Document", "id": "x"}})] {
            assert_eq!(reason(&user("admin"), &ask("read", wrong)), Reason::RequestInvalidAgainstSchema);
        }
    }

    #[test]
    fn a_forbid_beats_a_permit_and_an_errored_forbid_denies() {
        let with = |text: &str| {
            let mut source = demo();
            source.files.push(("z.cedar".into(), text.into()));
            let version = Version::compile(7, &source).unwrap();
            version.decide(&user("admin"), &ask("read", json!({})))
        };
        let forbidden = with("@id(\"no\") forbid (principal, action, resource);");
        assert_eq!((forbidden.reason, forbidden.policies), (Reason::ExplicitForbid, vec!["no".to_owned()]));
        assert_eq!(forbidden.version, Some(7));
        let overflow = "forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };";
        assert_eq!(with(overflow).reason, Reason::EvaluationError);
    }

    #[test]
    fn bad_policies_are_refused_with_their_file() {
        for text in ["permit (", "permit (principal, action, resource) when { resource.colour == 1 };"] {
            let mut source = demo();
            source.files.push(("bad.cedar".into(), text.into()));
            let error = Version::compile(1, &source).err().unwrap();
            assert!(error.to_string().contains("bad.cedar"), "{error}");
        }
    }
}
