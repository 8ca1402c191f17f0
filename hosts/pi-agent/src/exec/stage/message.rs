//! What the agent and the two processes tell each other, on a socket: descriptors with one byte, then frames.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use prost::Message;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Standard input, output and error.
const MOST_DESCRIPTORS: usize = 3;

/// A command as it is to be started. Its `Debug` would tell the environment: it is not for logs.
#[derive(Clone, PartialEq, Message)]
pub struct Plan {
    /// Program and arguments; the program is a path or looked for in `PATH`.
    #[prost(string, repeated, tag = "1")]
    pub argv: Vec<String>,
    /// All of it.
    #[prost(btree_map = "string, string", tag = "2")]
    pub environment: BTreeMap<String, String>,
    /// Absolute.
    #[prost(string, tag = "3")]
    pub working_directory: String,
    /// `None`: the agent's own.
    #[prost(message, optional, tag = "4")]
    pub identity: Option<Identity>,
    /// Bits that new files do not get.
    #[prost(uint32, tag = "5")]
    pub umask: u32,
    /// Added niceness.
    #[prost(int32, tag = "6")]
    pub nice: i32,
    /// Limit of processor time.
    #[prost(uint64, optional, tag = "7")]
    pub cpu_seconds: Option<u64>,
    /// Limit of the address space.
    #[prost(uint64, optional, tag = "8")]
    pub memory_bytes: Option<u64>,
    /// Limit of open files.
    #[prost(uint64, optional, tag = "9")]
    pub open_files: Option<u64>,
    /// Limit of a file's size.
    #[prost(uint64, optional, tag = "10")]
    pub file_bytes: Option<u64>,
    /// Limit of the user's processes.
    #[prost(uint64, optional, tag = "11")]
    pub processes: Option<u64>,
    /// The one descriptor that was passed is a terminal.
    #[prost(bool, tag = "12")]
    pub terminal: bool,
    /// Folder of the command's cgroup.
    #[prost(string, optional, tag = "13")]
    pub cgroup: Option<String>,
    /// Between SIGTERM and SIGKILL for what the command leaves behind.
    #[prost(uint64, tag = "14")]
    pub grace_ms: u64,
}

/// A user that the agent becomes for a command.
#[derive(Clone, PartialEq, Message)]
pub struct Identity {
    /// User.
    #[prost(uint32, tag = "1")]
    pub uid: u32,
    /// Group.
    #[prost(uint32, tag = "2")]
    pub gid: u32,
    /// Supplementary groups.
    #[prost(uint32, repeated, tag = "3")]
    pub groups: Vec<u32>,
}

/// From the agent to the supervisor, while the command runs.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Order {
    /// To the command's process group.
    #[prost(int32, optional, tag = "1")]
    pub(crate) signal: Option<i32>,
    /// End everything: SIGTERM, so much time, SIGKILL.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) stop_ms: Option<u64>,
}

/// From the supervisor to the agent, once: how the command ended. From the launcher: why it did not begin.
#[derive(Clone, PartialEq, Message)]
pub struct Ended {
    /// As waitpid(2) tells it; `None`: the command was never started.
    #[prost(int32, optional, tag = "1")]
    pub status: Option<i32>,
    /// Why it was not started; 0: unknown.
    #[prost(int32, tag = "2")]
    pub errno: i32,
    /// The same for people.
    #[prost(string, tag = "3")]
    pub why: String,
    /// Processor time in user mode, in microseconds.
    #[prost(uint64, tag = "4")]
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    #[prost(uint64, tag = "5")]
    pub system_us: u64,
    /// Largest resident size of one process.
    #[prost(uint64, tag = "6")]
    pub peak_rss_bytes: u64,
    /// Something descends from it that has not ended.
    #[prost(bool, tag = "7")]
    pub left: bool,
}

/// A message with its length before it.
pub(crate) fn frame(message: &impl Message) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_le_bytes().to_vec();
    message.encode(&mut bytes).unwrap_or_default(); // a Vec has room
    bytes
}

/// The next message; `None` if the other side has closed.
pub(crate) fn read_frame<M: Message + Default>(socket: &mut impl Read) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX)];
    socket.read_exact(&mut bytes)?;
    Ok(Some(M::decode(bytes.as_slice()).map_err(io::Error::other)?))
}

/// Sends one byte with the descriptors. A socket that nothing was sent on before takes it at once.
pub(crate) fn pass_descriptors(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !rights.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(&[0])], &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for such a byte; no descriptors if the other side has closed.
pub(super) fn receive_descriptors(socket: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let passed = rights.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(passed.flatten().collect())
}

/// The socket that this process was given as its standard input, under a number that exec(3) closes.
pub(super) fn own_socket() -> io::Result<UnixStream> {
    Ok(UnixStream::from(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?))
}
