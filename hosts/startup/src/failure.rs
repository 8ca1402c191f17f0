//! How a host says that it failed.

use std::error::Error;
use std::fmt;

/// What `main` returns when it fails: prints `cannot read x: no such file`, one line, without a backtrace.
pub struct Failure(String);

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(one_line(&error))
    }
}

/// `main` prints a failure with `Debug`.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error and its causes, joined by colons. Control characters become spaces, so that it stays one line.
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.ends_with(&said) {
            line = format!("{line}: {said}");
        }
        cause = error.source();
    }
    line.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_in_one_line() {
        let failure = Failure::from(Outer(std::io::Error::other("the key\nis lost")));
        assert_eq!(format!("{failure:?}"), "cannot open the door: the key is lost");
    }
}
