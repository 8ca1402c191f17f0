//! The deadline of a call on the server's side.

use std::error::Error as StdError;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::timeout;
use tonic::{Status, TimeoutExpired};

/// Without an earlier deadline of its own a call that has not begun to answer ends here.
const CALL: Duration = Duration::from_secs(30);

/// How long a call with these headers has: the caller's `grpc-timeout` or 30 s, whichever is shorter.
pub(crate) fn time_of(headers: &HeaderMap) -> Duration {
    asked(headers).map_or(CALL, |asked| asked.min(CALL))
}

/// The answer of a call; `DEADLINE_EXCEEDED` when this was not enough for it to begin: the call's handler is then dropped.
/// What a stream takes after it has begun is not counted.
pub(crate) async fn in_time<T>(time: Duration, call: impl Future<Output = T>) -> Result<T, Status> {
    timeout(time, call).await.map_err(|_| Status::deadline_exceeded("no answer before the call's deadline"))
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
    use tonic::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_call_is_told_so_at_the_shorter_of_the_two_times() {
        for (header, expected_ms) in [
            (None, 30_000),
            (Some("250m"), 250),
            (Some("1H"), 30_000),
            (Some("2x"), 30_000),
            (Some("000000001S"), 30_000),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(text) = header {
                headers.insert("grpc-timeout", text.parse().unwrap());
            }
            let began = tokio::time::Instant::now();
            let status = in_time(time_of(&headers), std::future::pending::<()>()).await.unwrap_err();
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
