//! The deadline of a call on the server's side. tonic has one of its own, which answers `CANCELLED`; this one stands inside
//! it, is asked first, and answers what gRPC demands.

use std::error::Error as StdError;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Map;
use http::{HeaderMap, Request, Response};
use tokio::time::error::Elapsed;
use tokio::time::{Timeout, timeout};
use tonic::body::Body;
use tonic::{Status, TimeoutExpired};
use tower::{Layer, Service};

/// Answers `DEADLINE_EXCEEDED` when neither the caller's `grpc-timeout` nor this time, whichever is shorter, was enough
/// for an answer to begin; the call's handler is dropped. What a stream takes after it has begun is not counted.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub(crate) Duration);

/// A service whose calls have a [`Deadline`].
#[derive(Clone, Debug)]
pub struct Timely<S> {
    inner: S,
    longest: Duration,
}

impl<S> Layer<S> for Deadline {
    type Service = Timely<S>;

    fn layer(&self, inner: S) -> Timely<S> {
        Timely { inner, longest: self.0 }
    }
}

type Answer<E> = Result<Response<Body>, E>;

impl<S, B> Service<Request<B>> for Timely<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Map<Timeout<S::Future>, fn(Result<Answer<S::Error>, Elapsed>) -> Answer<S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let time = asked(request.headers()).map_or(self.longest, |asked| asked.min(self.longest));
        timeout(time, self.inner.call(request)).map(|ended| ended.unwrap_or_else(|_| Ok(too_late().into_http())))
    }
}

fn too_late() -> Status {
    Status::deadline_exceeded("no answer before the call's deadline")
}

/// What the caller allows: up to eight digits and a unit. Anything else counts as nothing, as it does for tonic.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8 && !digits.starts_with('+'))?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Whether a client's own timer has ended its call. tonic's clients have one too, and call that `CANCELLED` as well.
pub fn timed_out(error: &(dyn StdError + 'static)) -> bool {
    error.is::<TimeoutExpired>() || error.source().is_some_and(timed_out)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tonic::Code;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_call_is_told_so_at_the_shorter_of_the_two_times() {
        let endless = service_fn(|_: Request<()>| std::future::pending::<Result<Response<Body>, Infallible>>());
        let service = Deadline(Duration::from_secs(30)).layer(endless);
        for (header, expected_ms) in [
            (None, 30_000),
            (Some("250m"), 250),
            (Some("1H"), 30_000),
            (Some("2x"), 30_000),
            (Some("000000001S"), 30_000),
        ] {
            let mut request = Request::new(());
            if let Some(text) = header {
                request.headers_mut().insert("grpc-timeout", text.parse().unwrap());
            }
            let began = tokio::time::Instant::now();
            let response = service.clone().oneshot(request).await.unwrap();
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert_eq!(began.elapsed().as_millis(), expected_ms, "{header:?}");
        }
    }

    #[test]
    fn every_unit_of_the_protocol_is_understood() {
        let of = |text: &str| asked(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]));
        let seconds = Duration::from_secs;
        assert_eq!(of("99999999H"), Some(seconds(99_999_999 * 3600)));
        assert_eq!((of("2M"), of("3S")), (Some(seconds(120)), Some(seconds(3))));
        assert_eq!((of("4u"), of("5n")), (Some(Duration::from_micros(4)), Some(Duration::from_nanos(5))));
        for wrong in ["", "S", "1", "-1S", "+1S", "1.5S", "é"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
