//! Request ids on disk, written before the command starts: an agent that was killed in between knows that it may have
//! run, and does not run it again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use agent_lib::{Holder, RequestId};
use data_encoding::HEXLOWER;

const FILE: &str = "requests";
/// As many as are remembered.
const KEPT: usize = 4096;

/// A request id and the digest of its request.
pub(super) type Known = (RequestId, [u8; 32]);

/// The file, open for more.
pub(super) struct Requests {
    state: PathBuf,
    file: File,
    lines: usize,
}

impl Requests {
    /// Opens the file in the state folder, and says what it holds. A line that was cut off by a power failure is none.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub(super) fn open(state: &Path) -> io::Result<(Self, Vec<Known>)> {
        let path = state.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let all: Vec<Known> = text.lines().filter_map(parse).collect();
        let known = all[all.len().saturating_sub(KEPT)..].to_vec();
        let lines: String = known.iter().map(|(request, digest)| line(request, digest)).collect();
        mtls::write_private(&path, lines.as_bytes()).map_err(io::Error::other)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok((Self { state: state.to_owned(), file, lines: known.len() }, known))
    }

    /// Comes back when it is on disk.
    pub(super) fn add(&mut self, request: &RequestId, digest: &[u8; 32]) -> io::Result<()> {
        if self.lines >= 2 * KEPT {
            (*self, _) = Self::open(&self.state)?;
        }
        self.file.write_all(line(request, digest).as_bytes())?;
        self.lines += 1;
        self.file.sync_data()
    }
}

/// Neither holders nor ids hold control characters, so a tab parts them.
fn line(request: &RequestId, digest: &[u8; 32]) -> String {
    format!("{}\t{}\t{}\n", HEXLOWER.encode(digest), request.holder, request.text)
}

fn parse(line: &str) -> Option<Known> {
    let mut parts = line.splitn(3, '\t');
    let digest = HEXLOWER.decode(parts.next()?.as_bytes()).ok()?.try_into().ok()?;
    let holder = Holder::new(parts.next()?).ok()?;
    Some((RequestId { holder, text: parts.next()?.to_owned() }, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_known_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        mtls::create_private_dir(&state).unwrap();
        let request = |text: &str| RequestId { holder: Holder::new("operator/anna").unwrap(), text: text.to_owned() };
        let (mut requests, known) = Requests::open(&state).unwrap();
        assert!(known.is_empty());
        requests.add(&request("a b"), &[7; 32]).unwrap();
        requests.add(&request("c"), &[8; 32]).unwrap();
        requests.file.write_all(b"00ff\toperator/an").unwrap(); // power failed here
        let (_, known) = Requests::open(&state).unwrap();
        assert_eq!(known, [(request("a b"), [7; 32]), (request("c"), [8; 32])]);
    }
}
