//! Every call passes here, whatever service it is for: who calls, and may they? Asked before the body is decoded.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use control_lib::Caller;
use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use mtls::Peer;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::ledger::Ledger;
use crate::wire;

/// A method without a row in the table would be a method that nobody has thought about: it does not build.
const _: () = {
    if let Some(method) = proto::without_row(proto::METHODS, "/", control_lib::METHODS) {
        panic!("{}", method) // has no row in control_lib::METHODS
    }
};

/// A service behind the one table from method to permission. A call that passes carries its `Caller` in its extensions.
#[derive(Clone)]
pub(crate) struct Authorized<S> {
    ledger: Arc<Ledger>,
    inner: S,
}

impl<S> Authorized<S> {
    pub(crate) fn new(ledger: Arc<Ledger>, inner: S) -> Self {
        Self { ledger, inner }
    }

    fn authorize(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let peer = request.extensions().get::<Peer>().ok_or_else(|| Status::unauthenticated("no peer"))?;
        let caller = wire::caller(peer)?;
        let method = request.uri().path();
        self.ledger.read().authorize(&caller, method).map_err(|denied| {
            tracing::info!(address = %peer.address(), method, %denied, "denied a call");
            self.ledger.recorder().denied(denied.audit(SystemTime::now(), &caller, method));
            wire::denied(&denied)
        })?;
        request.extensions_mut().insert(caller);
        Ok(())
    }
}

impl<S: NamedService> NamedService for Authorized<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.authorize(&mut request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

/// Who called, as [`Authorized`] found out.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| Status::internal("the call was not authorized"))
}
