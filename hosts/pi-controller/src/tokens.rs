//! `Tokens`: each method is decode, one look or decision, encode. Who may call was asked before.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_lib::{Caller, Control, CreateTokenRefusal, Identity, RevokeTokenRefusal, TokenRecord, TokenSpec};
use proto::fleet::v1 as pb;
use proto::fleet::v1::tokens_server::Tokens;
use tonic::{Code, Request, Response, Status};

use crate::authorized::caller;
use crate::ledger::Ledger;
use crate::wire;

/// How long a token lives unless the caller wishes otherwise.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The longest list: more would not fit an answer of 4 MiB.
const LARGEST_LIST: usize = 5000;

pub(crate) struct TokensService {
    ledger: Arc<Ledger>,
}

impl TokensService {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }
}

/// The operator who calls.
pub(crate) fn operator<T>(request: &Request<T>) -> Result<Identity, Status> {
    match caller(request)? {
        Caller::Identity(who) => Ok(who),
        _ => Err(Status::internal("the call was not authorized")),
    }
}

#[tonic::async_trait]
impl Tokens for TokensService {
    async fn create_token(
        &self,
        request: Request<pb::CreateTokenRequest>,
    ) -> Result<Response<pb::CreateTokenResponse>, Status> {
        let who = operator(&request)?;
        let spec = spec(request.into_inner())?;
        let decided = self.ledger.decide(move |control| control.create_token(SystemTime::now(), &who, spec));
        let record = decided.await.map_err(wire::ledger)?.map_err(|refusal| create_refusal(&refusal))?;
        tracing::info!(token = %record.id, by = %record.created_by, "made a join token");
        Ok(Response::new(created(&record, &self.ledger.read())))
    }

    async fn list_tokens(
        &self,
        request: Request<pb::ListTokensRequest>,
    ) -> Result<Response<pb::ListTokensResponse>, Status> {
        let pb::ListTokensRequest { all } = request.into_inner();
        let (control, now) = (self.ledger.read(), SystemTime::now());
        let usable = |token: &&TokenRecord| token.is_live(now) && token.uses_left > 0;
        let mut tokens: Vec<_> = control.tokens().filter(|token| all || usable(token)).collect();
        tokens.sort_by_key(|token| std::cmp::Reverse((token.created_at, token.id)));
        let tokens = tokens.into_iter().take(LARGEST_LIST).map(token).collect();
        Ok(Response::new(pb::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<pb::RevokeTokenRequest>,
    ) -> Result<Response<pb::RevokeTokenResponse>, Status> {
        let who = operator(&request)?;
        let pb::RevokeTokenRequest { token_id } = request.into_inner();
        let id = wire::parse("token_id", &token_id)?;
        let decided = self.ledger.decide(move |control| control.revoke_token(SystemTime::now(), &who, id));
        let record = decided.await.map_err(wire::ledger)?.map_err(|refusal| revoke_refusal(&refusal))?;
        tracing::info!(token = %record.id, "took a join token back");
        Ok(Response::new(pb::RevokeTokenResponse { token: Some(token(&record)) }))
    }
}

fn spec(message: pb::CreateTokenRequest) -> Result<TokenSpec, Status> {
    let pb::CreateTokenRequest { public_key, lifetime, uses, bound_name, bound_serial, labels, own_labels, approval } =
        message;
    let ttl = lifetime.map_or(Ok(LIFETIME), Duration::try_from);
    Ok(TokenSpec {
        public_key: public_key.try_into().map_err(|_| wire::invalid("public_key", "must have 32 bytes"))?,
        ttl: ttl.map_err(|_| wire::invalid("lifetime", "must not be negative"))?,
        uses: uses.max(1),
        bound_name: if bound_name.is_empty() { None } else { Some(wire::parse("bound_name", &bound_name)?) },
        bound_serial: if bound_serial.is_empty() { None } else { Some(wire::parse("bound_serial", &bound_serial)?) },
        labels: wire::labels("labels", labels)?,
        own_labels,
        approval,
    })
}

fn create_refusal(refusal: &CreateTokenRefusal) -> Status {
    let (code, reason) = match refusal {
        CreateTokenRefusal::AboveOwn => (Code::PermissionDenied, "ABOVE_OWN"),
        _ => (Code::InvalidArgument, "TOKEN_REFUSED"),
    };
    wire::status(code, reason, &refusal.to_string(), [])
}

fn revoke_refusal(refusal: &RevokeTokenRefusal) -> Status {
    match refusal {
        RevokeTokenRefusal::Unknown(_) => wire::status(Code::NotFound, "UNKNOWN_TOKEN", &refusal.to_string(), []),
    }
}

/// A new token, for who holds its key.
fn created(record: &TokenRecord, control: &Control) -> pb::CreateTokenResponse {
    pb::CreateTokenResponse {
        token_id: record.id.to_string(),
        cluster_id: control.cluster().to_string(),
        ca_public_key_sha256: control.issuer().ca_public_key_pin().to_vec(),
        expires: Some(record.expires.into()),
    }
}

/// A token for people.
fn token(record: &TokenRecord) -> pb::Token {
    let TokenRecord { id, public_key: _, expires, uses, uses_left, bound_name, bound_serial, labels, .. } = record;
    let TokenRecord { own_labels, approval, revoked_at, created_by, created_at, .. } = record;
    pb::Token {
        id: id.to_string(),
        expires: Some((*expires).into()),
        uses: *uses,
        uses_left: *uses_left,
        bound_name: bound_name.as_ref().map(ToString::to_string).unwrap_or_default(),
        bound_serial: bound_serial.as_ref().map(ToString::to_string).unwrap_or_default(),
        labels: labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        own_labels: *own_labels,
        approval: *approval,
        revoked_at: revoked_at.map(Into::into),
        created_by: created_by.to_string(),
        created_at: Some((*created_at).into()),
    }
}
