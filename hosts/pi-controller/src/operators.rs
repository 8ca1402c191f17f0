//! `Operators`: each method is decode, one look or decision, encode. Who may call was asked before; who may give what,
//! the decisions ask.

use std::sync::Arc;
use std::time::SystemTime;

use control_lib::{Caller, Control, Identity, Name, Role};
use proto::fleet::v1::operators_server::Operators;
use proto::fleet::v1::{
    AddOperatorRequest, AddOperatorResponse, ChangeRolesRequest, ChangeRolesResponse, GetOperatorRequest,
    GetOperatorResponse, ListOperatorsRequest, ListOperatorsResponse, RenewCertificateRequest,
    RenewCertificateResponse,
};
use tonic::{Request, Response, Status};

use crate::authorized::caller;
use crate::ledger::Ledger;
use crate::wire;

/// Operators on a page.
const LARGEST_PAGE: usize = 500;

pub(crate) struct OperatorsService {
    ledger: Arc<Ledger>,
}

impl OperatorsService {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }
}

fn operator<T>(request: &Request<T>) -> Result<Identity, Status> {
    match caller(request)? {
        Caller::Identity(who) => Ok(who),
        Caller::Token | Caller::Expired(_) => Err(Status::internal("the call was not authorized")),
    }
}

/// Who asks about somebody else must be an admin; of whom, does not matter.
fn is_admin(control: &Control, who: &Name) -> bool {
    control.operator(who).is_some_and(|operator| operator.has(Role::Admin))
}

#[tonic::async_trait]
impl Operators for OperatorsService {
    async fn add_operator(
        &self,
        request: Request<AddOperatorRequest>,
    ) -> Result<Response<AddOperatorResponse>, Status> {
        let who = operator(&request)?;
        let spec = wire::operator_spec(request.into_inner())?;
        let decided = self.ledger.decide(move |control| control.add_operator(SystemTime::now(), &who, spec));
        let admitted = decided.await.map_err(wire::ledger)?;
        let admitted = admitted.map_err(|refusal| wire::add_operator_refusal(&refusal))?;
        let added = &admitted.operator;
        tracing::info!(operator = %added.name, roles = %added.grants, by = %added.created_by, "added an operator");
        Ok(Response::new(wire::admitted(admitted, &self.ledger.read())))
    }

    async fn change_roles(
        &self,
        request: Request<ChangeRolesRequest>,
    ) -> Result<Response<ChangeRolesResponse>, Status> {
        let who = operator(&request)?;
        let ChangeRolesRequest { name, give, take } = request.into_inner();
        let name = wire::operator_name(&name)?.ok_or_else(|| wire::invalid("name", "is required"))?;
        let give = wire::grants("give", give)?;
        let take = take.into_iter().map(|role| wire::role("take", role)).collect::<Result<Vec<Role>, _>>()?;
        let by = who.clone();
        let now = SystemTime::now();
        let decided = self.ledger.decide(move |control| control.change_roles(now, &who, &name, &give, &take));
        let operator = decided.await.map_err(wire::ledger)?;
        let operator = operator.map_err(|refusal| wire::change_roles_refusal(&refusal))?;
        tracing::info!(operator = %operator.name, roles = %operator.grants, %by, "changed roles");
        Ok(Response::new(ChangeRolesResponse { operator: Some(wire::operator(&operator, &self.ledger.read())) }))
    }

    async fn list_operators(
        &self,
        request: Request<ListOperatorsRequest>,
    ) -> Result<Response<ListOperatorsResponse>, Status> {
        let ListOperatorsRequest { page_size, page_token } = request.into_inner();
        let size = match page_size as usize {
            0 => LARGEST_PAGE,
            wished => wished.min(LARGEST_PAGE),
        };
        let after = wire::page_start(&page_token)?;
        let control = self.ledger.read();
        let mut rest = control.operators().filter(|operator| Some(&operator.name) > after.as_ref());
        let operators: Vec<_> = rest.by_ref().take(size).map(|operator| wire::operator(operator, &control)).collect();
        let more = rest.next().and(operators.last()).map(|last| last.name.clone());
        Ok(Response::new(ListOperatorsResponse { operators, next_page_token: more.unwrap_or_default() }))
    }

    async fn get_operator(
        &self,
        request: Request<GetOperatorRequest>,
    ) -> Result<Response<GetOperatorResponse>, Status> {
        let who = operator(&request)?.name;
        let name = wire::operator_name(&request.into_inner().name)?.unwrap_or_else(|| who.clone());
        let control = self.ledger.read();
        if name != who && !is_admin(&control, &who) {
            return Err(wire::not_your_own());
        }
        let found = control.operator(&name).ok_or_else(|| wire::unknown_operator(&name))?;
        Ok(Response::new(GetOperatorResponse { operator: Some(wire::operator(found, &control)) }))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let who = operator(&request)?;
        let RenewCertificateRequest { name, csr } = request.into_inner();
        let name = wire::operator_name(&name)?.unwrap_or_else(|| who.name.clone());
        let key = wire::operator_key(&csr)?;
        let now = SystemTime::now();
        let decided = self.ledger.decide(move |control| control.renew_operator(now, &who, &name, &key));
        let certificate = decided.await.map_err(wire::ledger)?;
        let certificate = certificate.map_err(|refusal| wire::renew_operator_refusal(&refusal))?;
        let certificate = wire::operator_certificate(certificate, &self.ledger.read());
        Ok(Response::new(RenewCertificateResponse { certificate: Some(certificate) }))
    }
}
