//! Files that hold secrets: written whole or not at all, readable by nobody else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Nothing that is read here is larger: certificates, keys, tokens.
const MAXIMUM_BYTES: u64 = 64 * 1024;

/// A private file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Others could read it.
    #[error("{} can be read by others (mode {mode:04o}): run chmod go-rwx on it", path.display())]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not what it is taken for.
    #[error("{} is larger than {MAXIMUM_BYTES} bytes: name the right file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The system said no.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn io<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// Whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Creates `path` and its parents, with mode 0700 for every folder that it makes.
///
/// # Errors
///
/// If the system refuses, or if `path` exists and group or others may enter it.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::io("create", path))?;
    refuse_loose(path, &fs::metadata(path).map_err(FileError::io("inspect", path))?)
}

/// Reads a file of at most 64 KiB that only its owner may read.
///
/// # Errors
///
/// If it is missing, too large, or open to group or others.
pub fn read_private(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(FileError::io("read", path))?;
    refuse_loose(path, &file.metadata().map_err(FileError::io("inspect", path))?)?;
    let mut bytes = Vec::new();
    file.take(MAXIMUM_BYTES + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > MAXIMUM_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Replaces `path` by `bytes` with mode 0600: after a crash at any point there is the old file or the new one, whole.
///
/// # Errors
///
/// If the system refuses; the old file is then still there.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary).map_err(FileError::io("create", &temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(FileError::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(FileError::io("replace", path))?;
    sync_folder_of(path)
}

/// A rename is durable once its folder is.
fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::io("sync", folder))
}

fn refuse_loose(path: &Path, metadata: &fs::Metadata) -> Result<(), FileError> {
    match metadata.permissions().mode() & 0o7777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(FileError::Loose { path: path.to_owned(), mode }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(read_private(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_private(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = read_private(&path).unwrap_err().to_string();
        assert!(refused.contains("key.pem") && refused.contains("0644"), "{refused}");
    }

    #[test]
    fn an_endless_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_private(&path, &vec![0; 64 * 1024 + 1]).unwrap();
        assert!(matches!(read_private(&path), Err(FileError::TooLarge { .. })));
    }
}
