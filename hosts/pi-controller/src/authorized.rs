//! Every call passes here, whatever service it is for: who calls, and may they? Asked before the body is decoded.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use control_lib::Caller;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready};
use http::{Request, Response};
use mtls::Peer;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::ledger::Ledger;
use crate::wire;
use crate::withdrawal::{Withdrawal, is_stream};

/// A method without a row in the table would be a method that nobody has thought about: it does not build.
const _: () = {
    if let Some(method) = proto::without_row(proto::METHODS, "/", control_lib::METHODS) {
        panic!("{}", method) // has no row in control_lib::METHODS
    }
};

/// A service behind the one table from method to permission. A call that passes carries its `Caller` in its extensions; a
/// stream is judged again whenever rights change, and ends when it would not be allowed any more.
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

    /// When a stream is to end.
    fn withdrawal(&self, request: &Request<Body>, changes: watch::Receiver<u64>) -> Withdrawal {
        let (ledger, method) = (self.ledger.clone(), request.uri().path().to_owned());
        let caller = request.extensions().get::<Caller>().cloned();
        Withdrawal::new(changes, move || {
            let caller = caller.as_ref().ok_or_else(|| Status::internal("the call was not authorized"))?;
            ledger.read().authorize(caller, &method).map_err(|denied| wire::denied(&denied))
        })
    }
}

impl<S: NamedService> NamedService for Authorized<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // subscribed to before the look, so that no change slips in between
        let changes = is_stream(request.uri().path()).then(|| self.ledger.trust_revisions());
        if let Err(status) = self.authorize(&mut request) {
            return Either::Right(ready(Ok(status.into_http())).boxed());
        }
        let Some(changes) = changes else { return Either::Left(self.inner.call(request)) };
        let withdrawal = self.withdrawal(&request, changes);
        let response = self.inner.call(withdrawal.request(request));
        Either::Right(withdrawal.response(response).boxed())
    }
}

/// Who called, as [`Authorized`] found out.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| Status::internal("the call was not authorized"))
}
