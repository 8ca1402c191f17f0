//! What can go wrong with hardware, reduced to kinds that a caller can act on.

/// The kind of a hardware fault, on every board alike.
///
/// embedded-hal's `digital::ErrorKind` knows only `Other`; this tells "somebody else has the line" from "the chip was
/// unplugged". Each kind says whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The line is requested by another process or a kernel driver; it may become free.
    Busy,
    /// The chip has no such line.
    NoSuchLine,
    /// The operating system does not let this process use the chip or the line.
    Denied,
    /// This board, kernel or chip cannot do it; see [`Caps`](crate::Caps).
    Unsupported,
    /// The configuration contradicts itself or the hardware rejects it.
    InvalidConfig,
    /// The operation does not fit the line's mode: a write to an input, edges of an output.
    WrongMode,
    /// The chip or the line has disappeared; it must be claimed or reconfigured anew.
    Gone,
    /// Edges were lost because nobody fetched them in time.
    Overrun,
    /// The bus between processor and chip failed; trying again may help.
    Bus,
    /// Nobody on the bus acknowledges: no such device, or one without power or busy.
    NoAcknowledge,
    /// Anything else; the error's text and source tell more.
    Other,
}

/// An error of a board or a line that can be reduced to a [`FaultKind`].
///
/// The message says in one lower-case fragment what happened and what to do; the cause stands in `source()` only.
pub trait Fault: embedded_hal::digital::Error + core::error::Error + Send + Sync + 'static {
    /// The kind of this fault.
    fn fault(&self) -> FaultKind;
}
