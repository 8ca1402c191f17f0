//! How often this agent has started: what its tokens and record numbers begin with.

use std::path::Path;

use mtls::FileError;

const FILE: &str = "starts";

/// Counts this start in the state folder: one small write a start.
///
/// # Errors
///
/// If the folder cannot be written.
pub(crate) fn count(state: &Path) -> Result<u64, FileError> {
    let path = state.join(FILE);
    let before = match mtls::read_private(&path) {
        Ok(text) => String::from_utf8_lossy(&text).trim().parse().unwrap_or(0),
        Err(error) if error.is_not_found() => 0,
        Err(error) => return Err(error),
    };
    let starts: u64 = before + 1;
    mtls::write_private(&path, starts.to_string().as_bytes())?;
    Ok(starts)
}

/// The first token of a start: above all that earlier starts can have granted.
pub(crate) fn first_token(starts: u64) -> u64 {
    starts << 32
}
