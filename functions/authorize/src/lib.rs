//! May they? `POST /authorize` answers ALLOW or DENY with a reason.
//!
//! Invariant: the subject is always the one of a verified token, and no answer leaves before its audit event is
//! accepted by the queue.

mod engine;
mod request;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use echo_shared::clock::Clock;
use echo_shared::config::{Env, Issuer};
use echo_shared::entropy::Entropy;
use echo_shared::event::audit::{self, Actor, Outcome, Record, Resource};
use echo_shared::event::{Envelope, Queue};
use echo_shared::http::{Door, Problem, RequestInfo, TokenProblem, bearer, content_type, read_body};
use echo_shared::metric::{Metric, Metrics};
use echo_shared::queue::Publisher;
use echo_shared::telemetry::note_org;
use echo_shared::token::{AccessClaims, KeySource, TokenError, Verifier};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

pub use engine::{Decision, Principal, Question, Reason, Source, SourceError, Version};
pub use request::AuthorizeRequest;
pub use store::{PolicyError, PolicyStore};

/// The largest request body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// What the environment has to say.
pub struct Config {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// Where the policies are.
    pub policy_table: String,
    /// Where decisions are reported.
    pub queue_urls: BTreeMap<Queue, String>,
    /// Whose metrics these are.
    pub stack: String,
}

impl Config {
    /// Reads `ECHO_ISSUER`, `POLICY_TABLE`, `AUDIT_QUEUE_URL` and `ECHO_STACK`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self {
            issuer: env.issuer(),
            policy_table: env.text("POLICY_TABLE"),
            queue_urls: Publisher::queue_urls(env, [Queue::Audit]),
            stack: Metrics::stack(env),
        }
    }
}

/// What the function works with.
pub struct App<K> {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// Checks callers' and subjects' tokens.
    pub verifier: Verifier<K>,
    /// The policies.
    pub policies: PolicyStore,
    /// Where decisions are reported.
    pub publisher: Publisher,
    /// How many there are.
    pub metrics: Metrics,
    /// The time of events.
    pub clock: Clock,
    /// Ids.
    pub entropy: Entropy,
}

/// The function's routes.
pub fn router<K: KeySource + 'static>(app: Arc<App<K>>) -> Router {
    let door = Door { entropy: app.entropy.clone(), https: app.issuer.is_https() };
    door.guard(Router::new().route("/authorize", post(authorize::<K>)).with_state(app))
}

async fn authorize<K: KeySource>(
    State(app): State<Arc<App<K>>>,
    info: RequestInfo,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    // Fail closed also for those who read nothing but `decision`.
    app.answer(&info, &headers, body).await.map_err(|problem| problem.with("decision", "DENY".into()))
}

impl<K: KeySource> App<K> {
    /// Opens the connections that the first decision needs, side by side instead of one after the other. A failure is
    /// the first decision's to report.
    pub async fn warm_up(&self) {
        tokio::join!(self.verifier.warm_up(), self.policies.warm_up());
    }

    async fn answer(&self, info: &RequestInfo, headers: &HeaderMap, body: Body) -> Result<Json<Value>, Problem> {
        let caller = self.verifier.access_token(bearer(headers)?).await.map_err(TokenProblem)?;
        // The subject's, too: others are refused.
        note_org(&caller.org);
        let malformed = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "invalid-request", detail);
        if content_type(headers) != "application/json" {
            return Err(malformed("send `Content-Type: application/json`"));
        }
        let body = read_body(headers, body, MAX_BODY).await?;
        let request = AuthorizeRequest::parse(&body).map_err(|reason| malformed(&reason))?;
        let trusted = caller.has_scope("authorize");
        if request.token.is_some() && !trusted {
            let detail = "asking for the subject of another token takes the scope `authorize`";
            return Err(Problem::new(StatusCode::FORBIDDEN, "insufficient-scope", detail));
        }
        let question = request.question(trusted);
        let (subject, decision) = self.decide(&caller, request.token.as_deref(), &question).await?;
        let event = self.event(info, &caller, subject.as_ref(), &question, &decision);
        self.publisher
            .publish(std::slice::from_ref(&event))
            .await
            .map_err(|error| Problem::unavailable(&error).with("reason", "audit_unavailable".into()))?;
        self.metrics.count(if decision.allowed() { Metric::DecisionsAllowed } else { Metric::DecisionsDenied });
        let verdict = if decision.allowed() { "ALLOW" } else { "DENY" };
        tracing::info!(
            decision = verdict,
            reason = decision.reason.code(),
            action = question.action,
            resource_type = question.resource_type,
            resource_id = question.resource_id,
            decision_id = event.id,
            policy_version = decision.version,
            "decided"
        );
        Ok(Json(json!({
            "decision": verdict,
            "reason": decision.reason.code(),
            "policies": decision.policies,
            "policy_version": decision.version,
            // The audit entry's id.
            "decision_id": event.id,
            "context": {},
        })))
    }

    async fn decide(
        &self,
        caller: &AccessClaims,
        token: Option<&str>,
        question: &Question,
    ) -> Result<(Option<AccessClaims>, Decision), Problem> {
        let subject = match token {
            None => caller.clone(),
            Some(token) => match self.verifier.access_token(token).await {
                Ok(subject) => subject,
                Err(TokenError::Keys(error)) => return Err(Problem::unavailable(&error)),
                Err(error) => return Ok((None, Decision::refused(token_reason(&error)))),
            },
        };
        // A service answers for its own tenant's people only.
        if subject.org != caller.org {
            return Ok((None, Decision::refused(Reason::UnknownPrincipal)));
        }
        let unavailable = |error| Problem::unavailable(&error).with("reason", "policy_unavailable".into());
        let policies = self.policies.active(&subject.org).await.map_err(unavailable)?;
        let decision = policies.decide(&principal(&subject), question);
        Ok((Some(subject), decision))
    }

    fn event(
        &self,
        info: &RequestInfo,
        caller: &AccessClaims,
        subject: Option<&AccessClaims>,
        question: &Question,
        decision: &Decision,
    ) -> Envelope {
        let actor = subject.map(principal);
        let record = Record {
            actor: actor.map_or_else(Actor::anonymous, |who| Actor { kind: who.kind.into(), id: who.id, name: None }),
            action: if decision.allowed() { "decision.allow" } else { "decision.deny" }.into(),
            resource: Some(Resource { kind: question.resource_type.clone(), id: question.resource_id.clone() }),
            outcome: if decision.allowed() { Outcome::Success } else { Outcome::Denied },
            reason: Some(decision.reason.code().into()),
            client: info.client(Some(&caller.client_id)),
            session_id: subject.and_then(|subject| subject.sid.clone()),
            request_id: info.request_id.clone(),
            details: BTreeMap::from([
                ("action".into(), question.action.clone().into()),
                ("policies".into(), json!(decision.policies)),
                ("policy_version".into(), json!(decision.version)),
            ]),
        };
        let data = serde_json::to_value(record).unwrap_or_default();
        Envelope::new(&self.clock, &self.entropy, &info.trace, ("/authorize", &caller.org, audit::TYPE), data)
    }
}

fn principal(claims: &AccessClaims) -> Principal {
    Principal {
        kind: if claims.is_client() { "Client" } else { "User" },
        id: claims.sub.clone(),
        org: claims.org.clone(),
        roles: claims.roles.clone(),
    }
}

fn token_reason(error: &TokenError) -> Reason {
    match error {
        TokenError::Expired => Reason::TokenExpired,
        TokenError::Audience => Reason::TokenAudience,
        _ => Reason::TokenInvalid,
    }
}
