//! Streams are judged again: who was allowed to begin one may not be allowed to go on with it. Calls that are no streams
//! end by themselves and pass by here.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;

/// Whether a method streams, in either direction. Those of services that are not ours do not count.
pub(crate) fn is_stream(path: &str) -> bool {
    static STREAMS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS).map(|set| set.file).unwrap_or_default(); // our own
        let services = files.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
        let methods = services.flat_map(|(package, service)| {
            let streams = |method: &&_| is_streaming(method);
            let path = move |method: &prost_types::MethodDescriptorProto| {
                format!("/{package}.{}/{}", service.name(), method.name())
            };
            service.method.iter().filter(streams).map(path)
        });
        methods.collect()
    });
    STREAMS.contains(path)
}

fn is_streaming(method: &prost_types::MethodDescriptorProto) -> bool {
    method.client_streaming() || method.server_streaming()
}

/// When a call is to end because it would not be allowed any more.
#[derive(Clone)]
pub(crate) struct Withdrawal {
    changes: watch::Receiver<u64>,
    check: Arc<dyn Fn() -> Result<(), Status> + Send + Sync>,
}

impl Withdrawal {
    /// Asks `check` after each of `changes`, which are to be subscribed to before the call is allowed for the first time.
    pub(crate) fn new(
        changes: watch::Receiver<u64>,
        check: impl Fn() -> Result<(), Status> + Send + Sync + 'static,
    ) -> Self {
        Self { changes, check: Arc::new(check) }
    }

    /// Comes back with the reason.
    async fn comes(mut self) -> Status {
        while self.changes.changed().await.is_ok() {
            if let Err(status) = (self.check)() {
                return status;
            }
        }
        std::future::pending().await // the state is gone, and with it the process
    }

    /// The same request, whose body breaks off when it is withdrawn.
    pub(crate) fn request(&self, request: Request<Body>) -> Request<Body> {
        request.map(|body| Body::new(Watched { body, withdrawn: Some(self.clone().comes().boxed()), end: Err }))
    }

    /// The response, whose body ends with the reason when it is withdrawn; or the reason, if it has not begun by then.
    pub(crate) async fn response<E>(
        self,
        response: impl Future<Output = Result<Response<Body>, E>>,
    ) -> Result<Response<Body>, E> {
        let watched = |body| Body::new(Watched { body, withdrawn: Some(self.clone().comes().boxed()), end: trailers });
        tokio::select! {
            response = response => response.map(|response| response.map(watched)),
            status = self.clone().comes() => Ok(status.into_http()),
        }
    }
}

type Ending = fn(Status) -> Result<Frame<<Body as HttpBody>::Data>, Status>;

/// How a gRPC response says that it ends.
fn trailers(status: Status) -> Result<Frame<<Body as HttpBody>::Data>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// A body that ends early.
struct Watched {
    body: Body,
    /// `None` once it has ended so.
    withdrawn: Option<BoxFuture<'static, Status>>,
    end: Ending,
}

impl HttpBody for Watched {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let Some(withdrawn) = &mut self.withdrawn else { return Poll::Ready(None) };
        if let Poll::Ready(status) = withdrawn.poll_unpin(cx) {
            (self.withdrawn, self.body) = (None, Body::empty()); // whoever made it learns that nobody listens
            return Poll::Ready(Some((self.end)(status)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.withdrawn.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use http_body_util::BodyExt;

    use super::*;

    /// A body that says one thing and then nothing for ever, and tells when it has been dropped.
    fn endless() -> (Body, Arc<()>) {
        let alive = Arc::new(());
        let held = alive.clone();
        let frames = futures_util::stream::unfold(Some(held), |held| async move {
            let held = held?;
            Some((Ok::<_, Status>(Frame::data("first".into())), Some(held)))
        });
        let one = futures_util::StreamExt::chain(
            futures_util::StreamExt::take(frames, 1),
            futures_util::stream::once(async move {
                let () = std::future::pending().await;
                unreachable!()
            }),
        );
        (Body::new(http_body_util::StreamBody::new(one)), alive)
    }

    struct Switch {
        revision: watch::Sender<u64>,
        allowed: Arc<AtomicBool>,
    }

    fn switch() -> (Switch, Withdrawal) {
        let (revision, changes) = watch::channel(0);
        let allowed = Arc::new(AtomicBool::new(true));
        let asked = allowed.clone();
        let check = move || match asked.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Status::permission_denied("operator/anna lacks the role gpio; ask an admin")),
        };
        (Switch { revision, allowed }, Withdrawal::new(changes, check))
    }

    async fn begun(withdrawal: Withdrawal, body: Body) -> Body {
        withdrawal.response(async { Ok::<_, Status>(Response::new(body)) }).await.unwrap().into_body()
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_ends_with_the_reason_and_its_maker_is_told() {
        let (switch, withdrawal) = switch();
        let (body, _alive) = endless();
        let mut body = begun(withdrawal, body).await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        // a change that takes nothing away ends nothing
        switch.revision.send_replace(1);
        let more = tokio::time::timeout(std::time::Duration::from_secs(60), body.frame()).await;
        assert!(more.is_err(), "{more:?}");
        switch.allowed.store(false, Ordering::Relaxed);
        switch.revision.send_replace(2);
        let last = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&last).unwrap();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert!(status.message().contains("lacks the role gpio"), "{status:?}");
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_request_breaks_off() {
        let (switch, withdrawal) = switch();
        let mut body = withdrawal.request(Request::new(endless().0)).into_body();
        assert!(body.frame().await.unwrap().is_ok());
        switch.allowed.store(false, Ordering::Relaxed);
        switch.revision.send_replace(1);
        assert_eq!(body.frame().await.unwrap().unwrap_err().code(), tonic::Code::PermissionDenied);
    }

    #[tokio::test]
    async fn a_response_that_has_not_begun_is_the_reason_itself() {
        let (switch, withdrawal) = switch();
        switch.allowed.store(false, Ordering::Relaxed);
        switch.revision.send_replace(1);
        let never = std::future::pending::<Result<Response<Body>, Status>>();
        let response = withdrawal.response(never).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
    }

    #[tokio::test]
    async fn the_end_of_a_body_is_its_end() {
        let (_switch, withdrawal) = switch();
        let body = begun(withdrawal, Body::empty()).await;
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }

    #[test]
    fn streams_are_known_by_the_descriptors() {
        for path in ["/pi.agent.v1.NodeAgent/WatchGPIO", "/pi.control.v1.ControlPlane/WatchTrust"] {
            assert!(is_stream(path), "{path}");
        }
        for path in ["/pi.agent.v1.NodeAgent/ControlGPIO", "/pi.fleet.v1.Fleet/ListNodes", "", "/x/Y"] {
            assert!(!is_stream(path), "{path}");
        }
    }
}
