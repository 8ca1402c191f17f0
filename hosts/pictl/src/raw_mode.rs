//! The terminal that `pictl` runs on.

use std::io::stdin;

use proto::agent::v1::{Terminal, WindowSize};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::exit::Failure;

/// Every key goes to the node, Ctrl-C too. Dropped, also by a panic, the terminal is as it was.
pub(crate) struct RawMode(Termios);

impl RawMode {
    /// `None` if standard input is no terminal.
    pub(crate) fn enter() -> Result<Option<Self>, Failure> {
        let stdin = stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let before = tcgetattr(&stdin).map_err(std::io::Error::from)?;
        let mut raw = before.clone();
        raw.make_raw();
        let guard = Self(before);
        tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(std::io::Error::from)?;
        Ok(Some(guard))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0); // it is gone: nothing to restore
    }
}

/// This terminal, for the node to imitate.
pub(crate) fn terminal() -> Terminal {
    Terminal { size: size(), r#type: std::env::var("TERM").unwrap_or_default() }
}

/// Its size, if there is one.
pub(crate) fn size() -> Option<WindowSize> {
    let size = tcgetwinsize(stdin()).ok().filter(|size| size.ws_col > 0)?;
    Some(WindowSize { columns: size.ws_col.into(), rows: size.ws_row.into() })
}
