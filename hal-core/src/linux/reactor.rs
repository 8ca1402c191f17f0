//! Wakes those who wait for edges: one thread for the whole process, asleep in epoll while nothing happens.
//!
//! It is there so that [`Line::poll_edge`](crate::Line::poll_edge) keeps the promise of a poll function, to wake its
//! caller, under any runtime or none.

use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::vec::Vec;

use rustix::event::epoll;
use rustix::io::Errno;

use super::CdevError;
use crate::{EdgeEvent, LineId};

/// Events taken from the kernel at once.
const BATCH: usize = 64;

struct Reactor {
    epoll: OwnedFd,
    /// Who waits for which descriptor, by its number.
    wakers: Mutex<BTreeMap<u64, Waker>>,
}

/// There is no edge now: has the task woken when there is one.
pub(super) fn pending(line: LineId, fd: BorrowedFd<'_>, cx: &Context<'_>) -> Poll<Result<EdgeEvent, CdevError>> {
    match wake_when_readable(fd, cx.waker()) {
        Ok(()) => Poll::Pending,
        Err(source) => Poll::Ready(Err(CdevError::Kernel { line, source })),
    }
}

/// Wakes `waker` once, as soon as `fd` has something to read; at once, if it has already. A later call for the same
/// descriptor replaces the waker. A descriptor that is closed is forgotten by the kernel.
fn wake_when_readable(fd: BorrowedFd<'_>, waker: &Waker) -> io::Result<()> {
    let reactor = reactor().ok_or_else(|| io::Error::other("no thread to wait for edges"))?;
    let key = fd.as_raw_fd() as u64; // a descriptor is never negative
    reactor.wakers.lock().unwrap_or_else(PoisonError::into_inner).insert(key, waker.clone());
    let (data, flags) = (epoll::EventData::new_u64(key), epoll::EventFlags::IN | epoll::EventFlags::ONESHOT);
    match epoll::modify(&reactor.epoll, fd, data, flags) {
        // first time for this descriptor, or for a new one of the same number
        Err(Errno::NOENT) => epoll::add(&reactor.epoll, fd, data, flags)?,
        other => other?,
    }
    Ok(())
}

fn reactor() -> Option<&'static Reactor> {
    static REACTOR: OnceLock<Option<Reactor>> = OnceLock::new();
    let reactor = REACTOR.get_or_init(|| {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
        Some(Reactor { epoll, wakers: Mutex::new(BTreeMap::new()) })
    });
    let reactor = reactor.as_ref()?;
    static THREAD: OnceLock<bool> = OnceLock::new();
    let started =
        THREAD.get_or_init(|| thread::Builder::new().name("gpio-edges".into()).spawn(|| wait(reactor)).is_ok());
    started.then_some(reactor)
}

fn wait(reactor: &Reactor) {
    let mut events = Vec::with_capacity(BATCH);
    loop {
        events.clear();
        // interrupted by a signal: wait on
        if epoll::wait(&reactor.epoll, rustix::buffer::spare_capacity(&mut events), None).is_err() {
            continue;
        }
        for event in &events {
            let key = event.data.u64();
            let waker = reactor.wakers.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;
    use std::time::Duration;

    struct Tell(Mutex<Sender<()>>);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }

    #[test]
    fn wakes_once_for_what_is_there_and_for_what_comes() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (tell, told) = channel();
        let waker = Waker::from(Arc::new(Tell(Mutex::new(tell))));
        let limit = Duration::from_secs(10);
        wake_when_readable(reader.as_fd(), &waker).unwrap();
        rustix::io::write(&writer, b"a").unwrap();
        told.recv_timeout(limit).expect("woken by what came");
        assert!(told.try_recv().is_err(), "woken twice");
        wake_when_readable(reader.as_fd(), &waker).unwrap();
        told.recv_timeout(limit).expect("woken by what is there still");
    }
}
