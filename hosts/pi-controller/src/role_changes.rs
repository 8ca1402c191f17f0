//! S8b: what becomes of open streams when rights change; with the real ledger, store and wrapper.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use control_lib::{Caller, Change, Control, Decision, Identity, Issuer, Operator, Role};
use http::{Request, Response};
use http_body_util::BodyExt;
use mtls::{Peer, PeerIdentity};
use proto::fleet::v1::RevokeRequest;
use proto::fleet::v1::exclusions_server::Exclusions;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt, service_fn};

use crate::authorized::Authorized;
use crate::exclusions::ExclusionsService;
use crate::ledger::Ledger;
use crate::store::Store;

/// The specification's.
const DEADLINE: Duration = Duration::from_secs(1);

fn ledger() -> (TempDir, Arc<Ledger>) {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::create(&"lab".parse().unwrap(), SystemTime::now()).unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    (folder, Ledger::new(Control::new(issuer), store))
}

async fn set_roles(ledger: &Arc<Ledger>, roles: &[Role]) {
    let name = "bob".parse().unwrap();
    let created_by = Identity::controller("c1".parse().unwrap());
    let roles: BTreeSet<Role> = roles.iter().copied().collect();
    let operator = Operator { name, roles, created_by, created_at: SystemTime::now() };
    ledger.decide(|_| Decision { changes: vec![Change::PutOperator(operator)], answer: () }).await.unwrap();
}

fn call(method: &str, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.uri_mut() = method.parse().unwrap();
    let identity = PeerIdentity { cluster: "lab".into(), kind: mtls::Kind::Operator, name: "bob".into() };
    request.extensions_mut().insert(Peer::Certified(Arc::new(identity), ([127, 0, 0, 1], 1).into()));
    request
}

/// None is ever sent.
type NoFrame = Result<http_body::Frame<<Body as http_body::Body>::Data>, Status>;

/// A body that does not end, and says when nobody wants it any more.
fn endless() -> (Body, mpsc::Sender<NoFrame>) {
    let (wanted, frames) = mpsc::channel::<NoFrame>(1);
    let frames = futures_util::stream::unfold(frames, async |mut frames| Some((frames.recv().await?, frames)));
    (Body::new(http_body_util::StreamBody::new(Box::pin(frames))), wanted)
}

/// Opens a stream both ways, changes bob's roles, and tells how the response ended, how long that took, and how the request
/// body that the service reads did.
async fn stream(method: &str, before: &[Role], after: &[Role]) -> Option<(Status, Duration, Option<Status>)> {
    let (_folder, ledger) = ledger();
    set_roles(&ledger, before).await;
    let (response, is_wanted) = endless();
    let mut response = Some(response);
    let (tell, mut told) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Body>| {
        let (response, tell) = (response.take().unwrap_or_default(), tell.clone());
        tokio::spawn(async move {
            let mut body = request.into_body();
            let _ = tell.send(body.frame().await.and_then(Result::err)).await;
        });
        std::future::ready(Ok::<_, Infallible>(Response::new(response)))
    });
    let (request, _says_nothing) = endless();
    let mut service = Authorized::new(ledger.clone(), CloneOnce(Arc::new(tokio::sync::Mutex::new(service))));
    let answered = service.ready().await.unwrap().call(call(method, request)).await.unwrap();
    assert!(Status::from_header_map(answered.headers()).is_none(), "it is allowed at first");
    let mut body = answered.into_body();
    let began = Instant::now();
    set_roles(&ledger, after).await;
    let last = timeout(DEADLINE, body.frame()).await.ok()??.unwrap();
    let took = began.elapsed();
    timeout(DEADLINE, is_wanted.closed()).await.expect("whoever makes the response is told");
    let request = timeout(DEADLINE, told.recv()).await.unwrap().unwrap();
    Some((Status::from_header_map(last.trailers_ref().unwrap()).unwrap(), took, request))
}

/// `Authorized` asks for a service that can be cloned; one call is made.
#[derive(Clone)]
struct CloneOnce<S>(Arc<tokio::sync::Mutex<S>>);

impl<S> Service<Request<Body>> for CloneOnce<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move {
            let answer = inner.lock().await.call(request);
            answer.await
        })
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_role_is_taken_away() {
    let mut longest = Duration::ZERO;
    for method in ["WatchGPIO", "StreamGPIO"] {
        for _ in 0..10 {
            let path = format!("/pi.agent.v1.NodeAgent/{method}");
            let (status, took, request) =
                stream(&path, &[Role::Gpio, Role::Viewer], &[Role::Viewer]).await.expect("it ends within a second");
            assert_eq!(status.code(), Code::PermissionDenied);
            assert_eq!(status.message(), "operator/bob lacks the role gpio; ask an admin");
            assert_eq!(request.map(|status| status.code()), Some(Code::PermissionDenied), "its request breaks off");
            longest = longest.max(took);
        }
    }
    println!("figure: 20 roles lowered; streams ended after at most {:.1} ms", longest.as_secs_f64() * 1e3);
}

#[tokio::test]
async fn a_stream_goes_on_when_its_role_stays() {
    let ended = stream("/pi.agent.v1.NodeAgent/WatchGPIO", &[Role::Gpio, Role::Viewer], &[Role::Gpio]).await;
    assert!(ended.is_none(), "{ended:?}");
}

/// F4: a store that fails does not keep a thief connected.
#[tokio::test]
async fn a_revocation_that_cannot_be_stored_acts_until_the_process_ends() {
    let (folder, ledger) = ledger();
    set_roles(&ledger, &[Role::Gpio]).await;
    // somebody else writes to the store: from now on every commit fails
    let mut other = Store::open(&folder.path().join("state.db")).unwrap();
    other.commit(&[], 2).unwrap();
    let (response, _is_wanted) = endless();
    let response = Arc::new(std::sync::Mutex::new(Some(response)));
    let service = service_fn(move |_| {
        let body = response.lock().unwrap().take().unwrap_or_default();
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let path = "/pi.agent.v1.NodeAgent/WatchGPIO";
    let mut authorized = Authorized::new(ledger.clone(), CloneOnce(Arc::new(tokio::sync::Mutex::new(service))));
    let mut body = authorized.call(call(path, Body::empty())).await.unwrap().into_body();

    let mut revoke = tonic::Request::new(RevokeRequest { subject: "operator/bob".into(), reason: String::new() });
    revoke.extensions_mut().insert(Caller::Identity(Identity::operator("anna".parse().unwrap())));
    let said = ExclusionsService::new(ledger.clone()).revoke(revoke).await.unwrap_err();
    assert_eq!(said.code(), Code::Unavailable);
    assert!(said.message().contains("operator/bob is revoked from now on, but that could not be stored"), "{said:?}");
    let last = timeout(DEADLINE, body.frame()).await.unwrap().unwrap().unwrap();
    let status = Status::from_header_map(last.trailers_ref().unwrap()).unwrap();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "operator/bob was revoked"));
    assert!(ledger.read().trust_bundle().denied_identities.len() == 1, "nodes are told");
}
