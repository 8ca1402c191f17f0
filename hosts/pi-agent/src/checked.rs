//! Every call passes here, whatever service it is for: who calls, and may they? Asked before the body is decoded.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use hal_core::Board;
use http::{Request, Response};
use mtls::Peer;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;

use crate::access::{self, Principal};
use crate::service::Node;

/// A service behind the one table from method to right. A call that passes carries its [`Principal`].
pub(crate) struct Checked<S, B: Board> {
    node: Arc<Node<B>>,
    inner: S,
}

impl<S, B: Board> Checked<S, B> {
    pub(crate) fn new(node: &Arc<Node<B>>, inner: S) -> Self {
        Self { node: node.clone(), inner }
    }

    fn check(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let (right, peer) = (access::right(request.uri().path())?, request.extensions().get::<Peer>());
        let principal = self.node.access.check(right, request.headers(), peer).inspect_err(|denied| {
            if let Some(Peer::Certified(who, _)) = peer {
                self.node.audit.denied(who, right.as_str(), denied);
            }
        })?;
        request.extensions_mut().insert(Arc::new(principal));
        Ok(())
    }
}

impl<S: Clone, B: Board> Clone for Checked<S, B> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), inner: self.inner.clone() }
    }
}

impl<S: NamedService, B: Board> NamedService for Checked<S, B> {
    const NAME: &'static str = S::NAME;
}

impl<S, B: Board> Service<Request<Body>> for Checked<S, B>
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
        match self.check(&mut request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

/// Who called, as [`Checked`] found out.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Result<Arc<Principal>, Status> {
    let principal = request.extensions().get::<Arc<Principal>>().cloned();
    principal.ok_or_else(|| Status::internal("the call was not checked"))
}
