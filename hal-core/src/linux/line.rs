//! A requested line of the GPIO character device.

use core::task::{Context, Poll};
use std::os::fd::{AsFd, BorrowedFd};
use std::string::{String, ToString};

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};
use gpio_cdev::{EventType, LineEvent};

use super::chip::cause;
use super::request::{Request, first_level, flags, request};
use super::{CdevError, fault, reactor};
use crate::{EdgeEvent, Instant, Line, LineConfig, LineId, Lost};

/// A line requested through the kernel's first interface.
///
/// Reconfiguring gives the line up and requests it again, except where only an output's level differs. Should the new
/// request fail, the old one is made again, an output at the level it had; should that fail too, the line is lost: every
/// call but `reconfigure` then ends in a `Gone` fault, and `reconfigure` tries afresh.
///
/// Whoever waits in [`Line::poll_edge`] is woken by a thread of this crate; a host with a reactor of its own can wait for
/// [`CdevLine::edge_fd`] instead.
#[derive(Debug)]
pub struct CdevLine {
    line: gpio_cdev::Line,
    id: LineId,
    consumer: String,
    config: LineConfig,
    request: Request,
    /// The logical level last written; on an open-drain line the wire may show another.
    written: bool,
}

impl CdevLine {
    pub(super) fn request(
        line: gpio_cdev::Line,
        id: LineId,
        config: LineConfig,
        consumer: &str,
    ) -> Result<Self, CdevError> {
        let request = request(&line, id, config, consumer)?;
        let written = first_level(config);
        Ok(Self { line, id, consumer: consumer.to_string(), config, request, written })
    }

    /// The descriptor that is readable while edges wait; `None` on a line that reports none.
    pub fn edge_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.request {
            Request::Edges(handle) => Some(handle.as_fd()),
            Request::Level(_) | Request::Lost => None,
        }
    }

    fn write(&mut self, level: bool) -> Result<(), CdevError> {
        let Request::Level(handle) = self.output()? else {
            return Err(CdevError::Lost { line: self.id });
        };
        handle.set_value(level.into()).map_err(|error| self.refused(error))?;
        self.written = level;
        Ok(())
    }

    fn read(&self) -> Result<bool, CdevError> {
        let value = match &self.request {
            Request::Level(handle) => handle.get_value(),
            Request::Edges(handle) => handle.get_value(),
            Request::Lost => return Err(CdevError::Lost { line: self.id }),
        };
        value.map(|value| value != 0).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: gpio_cdev::Error) -> CdevError {
        CdevError::Kernel { line: self.id, source: cause(error) }
    }

    fn output(&self) -> Result<&Request, CdevError> {
        let wrong = CdevError::WrongMode { line: self.id, needed: "an output" };
        if self.config.is_output() { Ok(&self.request) } else { Err(wrong) }
    }

    /// Gives the line up and requests it as `config` says.
    fn exchange(&mut self, config: LineConfig) -> Result<(), CdevError> {
        self.request = Request::Lost; // closes the old request, else the new one finds the line busy
        self.request = request(&self.line, self.id, config, &self.consumer)?;
        self.config = config;
        self.written = first_level(config);
        Ok(())
    }
}

impl ErrorType for CdevLine {
    type Error = CdevError;
}

impl InputPin for CdevLine {
    fn is_high(&mut self) -> Result<bool, CdevError> {
        self.read()
    }

    fn is_low(&mut self) -> Result<bool, CdevError> {
        self.read().map(|level| !level)
    }
}

impl OutputPin for CdevLine {
    fn set_low(&mut self) -> Result<(), CdevError> {
        self.write(false)
    }

    fn set_high(&mut self) -> Result<(), CdevError> {
        self.write(true)
    }
}

impl StatefulOutputPin for CdevLine {
    fn is_set_high(&mut self) -> Result<bool, CdevError> {
        self.output().map(|_| self.written)
    }

    fn is_set_low(&mut self) -> Result<bool, CdevError> {
        self.output().map(|_| !self.written)
    }
}

impl Line for CdevLine {
    fn id(&self) -> LineId {
        self.id
    }

    fn config(&self) -> LineConfig {
        self.config
    }

    fn reconfigure(&mut self, config: LineConfig) -> Result<(), CdevError> {
        flags(self.id, config)?; // what is refused without asking the kernel must not cost the line
        let lost = matches!(self.request, Request::Lost);
        if !lost && config.is_output() && config.with_initial(false) == self.config.with_initial(false) {
            self.write(first_level(config))?;
            self.config = config;
            return Ok(());
        }
        let before = self.config.with_initial(self.written);
        self.exchange(config).inspect_err(|_| _ = self.exchange(before))
    }

    fn poll_edge(&mut self, cx: &mut Context<'_>) -> Poll<Result<EdgeEvent, CdevError>> {
        let Request::Edges(handle) = &mut self.request else {
            return Poll::Ready(Err(CdevError::WrongMode { line: self.id, needed: "an input with edges" }));
        };
        match handle.get_event() {
            Ok(event) => Poll::Ready(Ok(edge(self.id, &event))),
            Err(error) => match cause(error) {
                nothing if fault::would_block(&nothing) => reactor::pending(self.id, handle.as_fd(), cx),
                source => Poll::Ready(Err(CdevError::Kernel { line: self.id, source })),
            },
        }
    }
}

/// The first interface reports logical edges and neither numbers nor losses.
fn edge(line: LineId, event: &LineEvent) -> EdgeEvent {
    let rising = event.event_type() == EventType::RisingEdge;
    EdgeEvent { line, rising, at: Instant::from_nanos(event.timestamp()), seq: None, lost: Lost::Unknown }
}
