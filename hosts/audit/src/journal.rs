//! Rows in append-only files of bounded size. Each file begins with the hash of the last row of the one before.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::lines::{Header, Lines, ReadError, format_row, parse_row};
use crate::row::{Anchor, Chain, Entry};
use crate::verify::{Report, Verifier};

const SUFFIX: &str = "jsonl";

/// How much is kept. What is older than the last files is deleted, and a verification says from which row on it looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A file that would become larger is left for a new one.
    pub file_bytes: u64,
    /// So many files at most, at least 1.
    pub files: usize,
}

impl Default for Limits {
    /// 8 files of 1 MiB: some 30,000 rows.
    fn default() -> Self {
        Self { file_bytes: 1 << 20, files: 8 }
    }
}

/// A journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system said no.
    #[error("cannot use {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("another process writes to {}", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The files are another chain's.
    #[error("{} holds the audit of {found}: move it away", path.display())]
    OtherChain {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: String,
    },
}

/// A file of a journal could not be verified at all.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be verified", path.display())]
pub struct FolderError {
    /// The file, or the folder.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: ReadError,
}

/// What was not whole when a journal was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The last row was not finished, as after a power failure: so many bytes were cut off.
    CutOff(u64),
    /// The file did not end with a row. It was left as it is, for verification to find.
    Damaged,
}

/// The files of one chain, open for more. One process at a time.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    /// Keeps other processes from writing here.
    _lock: File,
    name: String,
    limits: Limits,
    chain: Chain,
    /// The newest file. It is open only while it is written: a file system can be made read-only in between.
    path: PathBuf,
    /// Where it ends, if something may stand after that which does not belong there.
    torn: Option<u64>,
}

impl Journal {
    /// Opens the chain called `name` in `folder`, or begins it there. Files are for their owner only.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; nothing that was there is changed then.
    pub fn open(folder: &Path, name: &str, limits: Limits) -> Result<(Self, Option<Recovery>), JournalError> {
        let failed = |source| JournalError::Io { path: folder.to_owned(), source };
        create_folder(folder).map_err(failed)?;
        let lock = File::open(folder).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Occupied { path: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let found = newest(folder, name)?;
        let (last, recovery) = (found.as_ref().map(|found| found.last), found.as_ref().and_then(Newest::recovery));
        let chain = last.map_or_else(|| Chain::new(name), Chain::after);
        let opened = match found {
            Some(found) if found.is_good => found.resume(),
            Some(found) => found.put_aside().and_then(|()| create(folder, name, chain.last())),
            None => create(folder, name, chain.last()),
        };
        let path = opened.map_err(failed)?;
        let (folder, name) = (folder.to_owned(), name.to_owned());
        Ok((Self { folder, _lock: lock, name, limits, chain, path, torn: None }, recovery))
    }

    /// The last row; number 0 if there is none.
    pub fn last(&self) -> Anchor {
        self.chain.last()
    }

    /// Appends all of these, or on an error none. Comes back when they are on disk.
    ///
    /// # Errors
    ///
    /// What the system says; try again later.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut chain = self.chain.clone();
        let text: String = entries.iter().map(|entry| format_row(&chain.append(entry.clone()))).collect();
        let mut file = self.file(text.len() as u64)?;
        let length = file.metadata()?.len();
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // what is there of it is no row: gone at once, or before the next ones
            self.torn = file.set_len(length).is_err().then_some(length);
            return Err(error);
        }
        self.chain = chain;
        Ok(())
    }

    /// The file for so many bytes more.
    fn file(&mut self, more: u64) -> io::Result<File> {
        let file = match OpenOptions::new().append(true).open(&self.path) {
            // somebody has deleted it
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.rotate(),
            file => file?,
        };
        if let Some(length) = self.torn {
            file.set_len(length)?;
            self.torn = None;
        }
        let (length, header) = (file.metadata()?.len(), header(&self.name, self.last()).len() as u64);
        match length > header && length + more > self.limits.file_bytes {
            true => self.rotate(),
            false => Ok(file),
        }
    }

    fn rotate(&mut self) -> io::Result<File> {
        self.path = create(&self.folder, &self.name, self.chain.last())?;
        self.torn = None;
        let files = journal_files(&self.folder)?;
        let old = files.len().saturating_sub(self.limits.files.max(1));
        files[..old].iter().try_for_each(fs::remove_file)?;
        OpenOptions::new().append(true).open(&self.path)
    }
}

/// The newest file, as it was found.
struct Newest {
    path: PathBuf,
    last: Anchor,
    /// It has a header, and ends with a row if there is any.
    is_good: bool,
    /// Up to the end of its last line.
    whole: u64,
    /// What stands after that.
    extra: u64,
}

/// `None`: there are no files. One whose making was cut short is removed.
fn newest(folder: &Path, name: &str) -> Result<Option<Newest>, JournalError> {
    let failed = |source| JournalError::Io { path: folder.to_owned(), source };
    for path in journal_files(folder).map_err(failed)?.into_iter().rev() {
        let bytes = fs::read(&path).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&bytes[..whole]);
        let Some(header) = text.lines().next() else {
            fs::remove_file(&path).map_err(failed)?;
            continue;
        };
        let header = Header::parse(header).ok();
        if let Some(Header { chain, .. }) = header.as_ref().filter(|header| header.chain != name) {
            return Err(JournalError::OtherChain { path: folder.to_owned(), found: chain.clone() });
        }
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let is_good = header.is_some() && lines.last().is_none_or(|line| parse_row(line).is_ok());
        let last = lines.iter().rev().find_map(|line| parse_row(line).ok()).map(|row| row.anchor());
        let last = last.or(header.map(|header| header.after)).unwrap_or(Chain::new(name).last());
        let (whole, extra) = (whole as u64, (bytes.len() - whole) as u64);
        return Ok(Some(Newest { path, last, is_good, whole, extra }));
    }
    Ok(None)
}

impl Newest {
    fn recovery(&self) -> Option<Recovery> {
        match self {
            Self { is_good: false, .. } => Some(Recovery::Damaged),
            Self { extra: 0, .. } => None,
            Self { extra, .. } => Some(Recovery::CutOff(*extra)),
        }
    }

    fn resume(self) -> io::Result<PathBuf> {
        if self.extra > 0 {
            let file = OpenOptions::new().append(true).open(&self.path)?;
            file.set_len(self.whole)?;
            file.sync_data()?;
        }
        Ok(self.path)
    }

    /// Under a name that sorts before the next file's, which may begin with the same row.
    fn put_aside(self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension(format!("0.{SUFFIX}")))
    }
}

fn header(name: &str, after: Anchor) -> String {
    Header { chain: name.to_owned(), after, end: None }.format()
}

/// A new one is durable once the folder that it is in is.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// A new file for what comes after this row. On an error there is none.
fn create(folder: &Path, name: &str, after: Anchor) -> io::Result<PathBuf> {
    create_folder(folder)?;
    let path = folder.join(format!("{:020}.{SUFFIX}", after.sequence + 1));
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
    let made = file.write_all(header(name, after).as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = made.and_then(|()| File::open(folder)?.sync_all()) {
        let _ = fs::remove_file(&path); // an unfinished one is removed at the next start
        return Err(error);
    }
    Ok(path)
}

/// The files of a journal's folder, oldest first; none if there is no folder.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn journal_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == SUFFIX));
    files.sort(); // by the number of their first row
    Ok(files)
}

/// Verifies a journal's files, from the oldest that is kept, against rows noted elsewhere if there are any. `None`: there
/// are no files.
///
/// # Errors
///
/// If a file cannot be read or has no header. Damage is no error: it is what the report is for.
pub fn verify_folder(folder: &Path, noted: &[Anchor]) -> Result<Option<(Header, Report)>, FolderError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FolderError { path, source }
    };
    let mut begun: Option<(Header, Verifier)> = None;
    for path in journal_files(folder).map_err(|error| failed(folder)(error.into()))? {
        let lines = File::open(&path).map_err(ReadError::from).and_then(Lines::open).map_err(failed(&path))?;
        let header = lines.header().clone();
        let (_, verifier) = begun.get_or_insert_with(|| {
            let mut verifier = Verifier::from_header(&header);
            noted.iter().for_each(|anchor| verifier.note(*anchor));
            (header.clone(), verifier)
        });
        verifier.go_on(header.after);
        verifier.check_lines(lines).map_err(|error| failed(&path)(error.into()))?;
    }
    Ok(begun.map(|(header, verifier)| (header, verifier.finish())))
}
