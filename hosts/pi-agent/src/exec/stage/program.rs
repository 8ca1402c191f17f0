//! Where a program is.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The file that `name` stands for: itself if it is a path, else the first of its name in `path` that this process may
/// run. The error is execvp(3)'s.
pub(super) fn find(name: &str, path: &str) -> io::Result<PathBuf> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let mut error = rustix::io::Errno::NOENT;
    for folder in path.split(':').filter(|folder| folder.starts_with('/')) {
        let file = Path::new(folder).join(name);
        match access(&file, Access::EXEC_OK) {
            Ok(()) if file.is_file() => return Ok(file),
            Err(rustix::io::Errno::ACCESS) => error = rustix::io::Errno::ACCESS,
            _ => {}
        }
    }
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_for_and_a_path_is_not() {
        assert!(find("sh", "/nowhere:/usr/bin:/bin").unwrap().ends_with("bin/sh"));
        assert_eq!(find("/x/y", "/bin").unwrap(), Path::new("/x/y"));
        for (name, path) in [("sh", ""), ("sh", "bin"), ("no-such-program", "/bin"), ("passwd", "/etc")] {
            assert!(find(name, path).unwrap_err().raw_os_error().is_some(), "{name} in {path}");
        }
    }
}
