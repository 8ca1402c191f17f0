//! Who asks, and what the host lets them do beyond the usual.

use crate::Holder;

/// What a caller may do beyond using free lines and their own. The default is neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights {
    /// Hold a line with a declared safe state without a lease: it stays driven when the caller is gone.
    pub permanent: bool,
    /// Take a line from its holder.
    pub steal: bool,
}

/// Who asks: the host knows from the caller's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    /// Under which name they hold lines.
    pub holder: &'a Holder,
    /// What they may do beyond the usual.
    pub rights: Rights,
}

impl<'a> Caller<'a> {
    /// The same with these rights.
    pub const fn with_rights(self, rights: Rights) -> Caller<'a> {
        Caller { rights, ..self }
    }
}

impl Holder {
    /// This holder asking, without special rights.
    pub fn caller(&self) -> Caller<'_> {
        Caller { holder: self, rights: Rights::default() }
    }
}
