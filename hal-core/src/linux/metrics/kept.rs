//! Files of `/proc` and `/sys` that are kept open: a read from their beginning makes the kernel write them anew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::string::{String, ToString};
use std::vec::Vec;

use rustix::io::Errno;

/// What is larger is cut: no file here is, but on machines with hundreds of cores or interfaces.
const LARGEST: usize = 256 * 1024;

/// One file.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    file: Option<File>,
}

/// Room for a file's text, used again for the next.
pub(super) type Buffer = Vec<u8>;

impl Kept {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The whole text. After a failure the next read opens the file anew: devices go and come back.
    pub(super) fn read<'b>(&mut self, buffer: &'b mut Buffer) -> io::Result<&'b str> {
        let read = self.fill(buffer);
        if read.is_err() {
            self.file = None;
        }
        let length = read?;
        core::str::from_utf8(&buffer[..length]).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a text"))
    }

    fn fill(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.path)?),
        };
        let mut length = 0;
        loop {
            if length == buffer.len() {
                buffer.resize((2 * length).clamp(1024, LARGEST), 0);
            }
            match file.read_at(&mut buffer[length..], length as u64)? {
                0 => return Ok(length),
                read => length += read,
            }
        }
    }

    /// A number that makes up the whole file.
    pub(super) fn number<N: core::str::FromStr>(&mut self, buffer: &mut Buffer) -> io::Result<N> {
        let text = self.read(buffer)?.trim();
        text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a number"))
    }

    /// Why it cannot be read, with the file's name; `None` if the kernel does not have it at all.
    pub(super) fn failure(&self, error: &io::Error) -> Option<String> {
        let lacking = [Errno::NOENT, Errno::OPNOTSUPP, Errno::NOTDIR].map(Errno::raw_os_error);
        (!error.raw_os_error().is_some_and(|code| lacking.contains(&code))).then(|| self.told(error))
    }

    /// The same, whatever the reason.
    pub(super) fn told(&self, error: &io::Error) -> String {
        let mut why = self.path.display().to_string();
        why.push_str(": ");
        why.push_str(&error.to_string());
        why
    }
}
