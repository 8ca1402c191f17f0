//! One command, live: standard input in, output and outcome out.

use std::io::{Read, Write};
use std::thread;

use proto::agent::v1::execute_stream_request::Input;
use proto::agent::v1::execute_stream_response::Output;
use proto::agent::v1::{CloseStdin, CommandRequest, CommandResponse, ExecuteStreamRequest};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::inert;
use crate::raw_mode;

/// Read from standard input at once.
const CHUNK: usize = 16 * 1024;
/// Chunks under way; what reads standard input waits beyond.
const CHUNKS: usize = 4;
/// Numbers on Linux, where nodes run.
const SIGNALS: [(SignalKind, u32); 3] =
    [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15), (SignalKind::hangup(), 1)];

/// Where output goes.
pub(crate) struct Screen<'a> {
    pub(crate) out: &'a mut dyn Write,
    pub(crate) errors: &'a mut dyn Write,
    /// Bytes go out as they came; else control characters are shown, not obeyed.
    pub(crate) raw: bool,
}

/// Runs it until it has ended. Signals that `pictl` gets go on to the command, except where a person has a terminal: there
/// keys are signals, and [`told_to_end`] is for the rest.
pub(crate) async fn run(
    caller: &Caller,
    node: &str,
    request: CommandRequest,
    stdin: bool,
    screen: Screen<'_>,
) -> Result<CommandResponse, Failure> {
    let terminal = request.terminal.is_some();
    let (requests, stream) = mpsc::channel(CHUNKS);
    // the channel is empty
    let _ = requests.try_send(told(Input::Start(request)));
    if stdin {
        read_stdin(requests.clone(), terminal);
    } else if !terminal {
        let _ = requests.try_send(told(Input::CloseStdin(CloseStdin {})));
    }
    for (kind, number) in SIGNALS.into_iter().filter(|_| !(terminal && stdin)) {
        forward(kind, requests.clone(), move || Some(Input::Signal(number)))?;
    }
    if terminal {
        forward(SignalKind::window_change(), requests.clone(), || raw_mode::size().map(Input::WindowSize))?;
    }
    drop(requests);
    let request = caller.stream_to(node, ReceiverStream::new(stream))?;
    let mut answers = caller.node(node)?.execute_stream(request).await?.into_inner();
    let Screen { out, errors, raw } = screen;
    let (mut shown, mut complaint) = (Text { raw, rest: Vec::new() }, Text { raw, rest: Vec::new() });
    loop {
        match answers.message().await?.map(|answer| answer.output) {
            Some(Some(Output::Stdout(bytes))) => shown.print(&bytes, out)?,
            Some(Some(Output::Stderr(bytes))) => complaint.print(&bytes, errors)?,
            Some(Some(Output::Ended(ended))) => return Ok(ended),
            Some(None) => {}
            None => return Err(Failure::Ended),
        }
    }
}

/// The number of the signal that asks `pictl` itself to end. From the call on it does not end by it.
pub(crate) fn told_to_end() -> Result<impl Future<Output = u8>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
            _ = hangup.recv() => 1,
        }
    })
}

fn told(input: Input) -> ExecuteStreamRequest {
    ExecuteStreamRequest { input: Some(input) }
}

/// A thread of its own: reading a terminal cannot be broken off, and the process does not wait for it.
fn read_stdin(requests: mpsc::Sender<ExecuteStreamRequest>, terminal: bool) {
    let mut size = terminal.then(raw_mode::size).flatten();
    thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = stdin.read(&mut chunk) {
            // keys are for the window that the person typed them in; its signal may come later than they
            let now = terminal.then(raw_mode::size).flatten();
            let resized = now.filter(|_| now != size).map(Input::WindowSize);
            size = now;
            let keys = Input::Stdin(chunk[..length].to_vec());
            if resized.into_iter().chain([keys]).any(|input| requests.blocking_send(told(input)).is_err()) {
                return;
            }
        }
        let _ = requests.blocking_send(told(Input::CloseStdin(CloseStdin {}))); // it may have ended
    });
}

/// What the signal stands for goes to the node.
fn forward(
    kind: SignalKind,
    requests: mpsc::Sender<ExecuteStreamRequest>,
    input: impl Fn() -> Option<Input> + Send + 'static,
) -> Result<(), Failure> {
    let mut signals = signal(kind)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = requests.closed() => return,
                signal = signals.recv() => if signal.is_none() { return },
            }
            if let Some(input) = input() {
                let _ = requests.send(told(input)).await; // closed: noticed above
            }
        }
    });
    Ok(())
}

/// Text for a terminal, which may come in pieces.
struct Text {
    raw: bool,
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Text {
    fn print(&mut self, bytes: &[u8], to: &mut dyn Write) -> Result<(), Failure> {
        if self.raw {
            to.write_all(bytes)?;
        } else {
            to.write_all(self.shown(bytes).as_bytes())?;
        }
        Ok(to.flush()?)
    }

    fn shown(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let open = all.utf8_chunks().last().map_or(0, |last| match last.invalid() {
            // only what can still become a character
            begun if std::str::from_utf8(begun).is_err_and(|error| error.error_len().is_none()) => begun.len(),
            _ => 0,
        });
        self.rest = all.split_off(all.len() - open);
        let text = String::from_utf8_lossy(&all);
        text.split_inclusive(['\n', '\t']).map(part).collect()
    }
}

/// Up to a line's or a column's end, which stays.
fn part(text: &str) -> String {
    match text.char_indices().next_back() {
        Some((at, end @ ('\n' | '\t'))) => inert(&text[..at]) + &end.to_string(),
        _ => inert(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_that_a_command_prints() {
        let mut text = Text { raw: false, rest: Vec::new() };
        assert_eq!(text.shown(b"a\tb\n\x1b[2J\x07c\n"), "a\tb\n\\u{1b}[2J\\u{7}c\n");
        assert_eq!(text.shown(&"é".as_bytes()[..1]), "");
        assert_eq!(text.shown(&"é!".as_bytes()[1..]), "é!");
        assert_eq!(text.shown(b"\xff."), "\u{fffd}.");
        let mut raw = Text { raw: true, rest: Vec::new() };
        let mut out = Vec::new();
        raw.print(b"\x1b\xff", &mut out).unwrap();
        assert_eq!(out, b"\x1b\xff");
    }
}
