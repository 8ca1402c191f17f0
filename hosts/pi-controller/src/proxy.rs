//! `NodeAgent` as a proxy: whatever the method, the message goes on to the named node unchanged and undecoded, and so
//! does the answer. New methods and new fields need no change here.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use control_lib::{Caller, Name, NodeRights};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use crate::ledger::Ledger;
use crate::links::{Link, Links, check_excluded};
use crate::wire;
use crate::withdrawal::{Withdrawal, is_stream};

/// Request metadata that names the node.
const NODE: HeaderName = HeaderName::from_static("pi-node");
/// Request metadata by which the node learns for whom the controller calls.
const ON_BEHALF_OF: HeaderName = HeaderName::from_static("pi-on-behalf-of");
/// Request metadata by which it learns what that somebody may do there.
const ROLES: HeaderName = HeaderName::from_static("pi-roles");
/// Request metadata by which it learns to which lines, units, sources and templates that is limited.
const SCOPE: HeaderName = HeaderName::from_static("pi-scope");

/// To whom a role, or some of its reach, was taken away while they used it.
const RIGHTS_CHANGED: &str = "a role was taken away or limited meanwhile; call again with what is left";

#[derive(Clone)]
pub(crate) struct NodeAgentProxy {
    ledger: Arc<Ledger>,
    links: Arc<Links>,
}

impl NodeAgentProxy {
    pub(crate) fn new(ledger: Arc<Ledger>, links: Arc<Links>) -> Self {
        Self { ledger, links }
    }

    async fn forward(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let node = named_node(&parts.headers)?;
        let changes = self.ledger.trust_revisions(); // before the first look
        let caller = parts.extensions.get::<Caller>();
        let caller = caller.ok_or_else(|| Status::internal("the call was not authorized"))?;
        let rights = self.ledger.read().rights_on(caller, parts.uri.path(), &node);
        let rights = rights.map_err(|denied| {
            tracing::info!(method = parts.uri.path(), %denied, "denied a call");
            let row = denied.audit(SystemTime::now(), caller, parts.uri.path());
            self.ledger.recorder().denied(row);
            wire::denied(&denied)
        })?;
        let onward_headers = onward_headers(parts.headers, caller, &rights)?;
        if let Caller::Identity(who) = caller {
            self.ledger.recorder().forwarded(who, parts.uri.path(), &node).await?;
        }
        let Link { endpoint, channel } = self.links.to(&self.ledger.read(), &node)?;
        let mut onward = Request::new(body);
        *onward.method_mut() = parts.method;
        *onward.uri_mut() = parts.uri;
        // grpc-timeout is among the headers: the deadline is carried on
        *onward.headers_mut() = onward_headers;
        let streaming = is_stream(onward.uri().path());
        let withdrawal = streaming.then(|| self.withdrawal(node.clone(), (caller, rights), &onward, changes.clone()));
        if let Some(withdrawal) = &withdrawal {
            onward = withdrawal.request(onward);
        }
        let answered = async {
            channel.oneshot(onward).await.map_err(|error| match mtls::timed_out(&error) {
                true => Status::deadline_exceeded(format!("no answer from node/{node} before the call's deadline")),
                false => unreachable(&node, &endpoint, &error),
            })
        };
        match withdrawal {
            Some(withdrawal) => withdrawal.response(answered).await,
            None => tokio::select! {
                answered = answered => answered,
                status = self.excluded(&node, changes) => Err(status),
            },
        }
    }

    /// Until `node` is kept out. For calls that are no streams, and so costs no allocation.
    async fn excluded(&self, node: &Name, mut changes: watch::Receiver<u64>) -> Status {
        while changes.changed().await.is_ok() {
            if let Err(status) = check_excluded(&self.ledger.read(), node) {
                return status;
            }
        }
        std::future::pending().await // the state is gone, and with it the process
    }

    /// When a stream with `node` is to end: when the node is kept out, or the caller may do other things there than the node
    /// was told. What else may end it is not for the proxy to judge.
    fn withdrawal(
        &self,
        node: Name,
        (caller, told): (&Caller, NodeRights),
        request: &Request<Body>,
        changes: watch::Receiver<u64>,
    ) -> Withdrawal {
        let (ledger, caller, method) = (self.ledger.clone(), caller.clone(), request.uri().path().to_owned());
        Withdrawal::new(changes, move || {
            let control = ledger.read();
            check_excluded(&control, &node)?;
            match control.rights_on(&caller, &method, &node) {
                Ok(now) if told.within(&now) => Ok(()),
                Ok(_) => Err(wire::status(Code::PermissionDenied, "RIGHTS_CHANGED", RIGHTS_CHANGED, [])),
                Err(denied) => Err(wire::denied(&denied)),
            }
        })
    }
}

fn named_node(headers: &HeaderMap) -> Result<Name, Status> {
    let name = headers.get(NODE).and_then(|value| value.to_str().ok());
    let missing = || wire::invalid("pi-node", "metadata is required: the name of the node to call");
    let name = name.ok_or_else(missing)?;
    name.parse().map_err(|_| wire::unknown_node(name))
}

fn onward_headers(mut headers: HeaderMap, caller: &Caller, rights: &NodeRights) -> Result<HeaderMap, Status> {
    let Caller::Identity(identity) = caller else { return Err(Status::internal("the call was not authorized")) };
    let header = |text: String| HeaderValue::try_from(text).map_err(|_| Status::internal("a name is no header"));
    headers.remove(NODE);
    // whatever the caller claimed to be
    headers.insert(ON_BEHALF_OF, header(identity.to_string())?);
    headers.insert(ROLES, header(rights.roles_text())?);
    headers.insert(SCOPE, header(rights.limits.to_string())?);
    Ok(headers)
}

fn unreachable(node: &Name, endpoint: &str, error: &tonic::transport::Error) -> Status {
    let why = mtls::explain(error).unwrap_or_else(|| startup::one_line(error));
    let why = format!("node/{node} cannot be reached at {endpoint}: {why}");
    wire::status(Code::Unavailable, "NODE_UNREACHABLE", &why, [("node", node.to_string())])
}

impl NamedService for NodeAgentProxy {
    const NAME: &'static str = "pi.agent.v1.NodeAgent";
}

impl Service<Request<Body>> for NodeAgentProxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move { Ok(proxy.forward(request).await.unwrap_or_else(Status::into_http)) })
    }
}
