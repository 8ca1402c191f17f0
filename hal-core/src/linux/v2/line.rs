//! A requested line of the GPIO character device, through the second interface.

use core::task::{Context, Poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use embedded_hal::digital::{ErrorType, InputPin, OutputPin, StatefulOutputPin};
use gpiocdev::Request;
use gpiocdev::line::{EdgeEvent as KernelEdge, EdgeKind};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::cause;
use super::config::{self, edges};
use crate::linux::{CdevError, fault, reactor};
use crate::{EdgeEvent, Edges, Instant, Label, Line, LineConfig, LineId, LineMode, Lost};

/// Edges that the kernel keeps for who does not fetch them, 48 bytes each; its default is 16.
const EDGES_KEPT: u32 = 64;

/// The size of `struct gpio_v2_line_event` in words (`include/uapi/linux/gpio.h`).
const EDGE_WORDS: usize = 6;

/// A line requested through the kernel's second interface, alone in its request.
///
/// It is reconfigured in place. Should the kernel refuse half-way, it is set back to what it was, an output to the level it
/// had.
///
/// Whoever waits in [`Line::poll_edge`] is woken by a thread of this crate; a host with a reactor of its own can wait for
/// [`Cdev2Line::edge_fd`] instead.
#[derive(Debug)]
pub struct Cdev2Line {
    request: Request,
    id: LineId,
    config: LineConfig,
    /// What the kernel was last told. It differs on a line that became as-is.
    held: LineConfig,
    /// The logical level last written; on an open-drain line the wire may show another.
    written: bool,
    last_seq: u32,
}

impl Cdev2Line {
    pub(super) fn request(chip: PathBuf, id: LineId, config: LineConfig, consumer: &str) -> Result<Self, CdevError> {
        let mut builder = Request::from_config(config::config(id, config));
        builder.on_chip(chip).with_consumer(&*Label::new(consumer)).with_kernel_event_buffer_size(EDGES_KEPT);
        let request = builder.request().map_err(|error| refused(id, config, cause(error)))?;
        unblock(&request).map_err(|source| CdevError::Kernel { line: id, source })?;
        Ok(Self { request, id, config, held: config, written: first_level(config), last_seq: 0 })
    }

    /// The descriptor that is readable while edges wait; `None` on a line that reports none.
    pub fn edge_fd(&self) -> Option<BorrowedFd<'_>> {
        (edges(self.config) != Edges::None).then(|| self.request.as_fd())
    }

    fn write(&mut self, level: bool) -> Result<(), CdevError> {
        self.output()?;
        self.request.set_lone_value(level.into()).map_err(|error| self.kernel(error))?;
        self.written = level;
        Ok(())
    }

    fn read(&self) -> Result<bool, CdevError> {
        let level: bool = self.request.lone_value().map_err(|error| self.kernel(error))?.into();
        Ok(level != (self.config.active_low != self.held.active_low))
    }

    fn output(&self) -> Result<(), CdevError> {
        let wrong = CdevError::WrongMode { line: self.id, needed: "an output" };
        if self.config.is_output() { Ok(()) } else { Err(wrong) }
    }

    fn kernel(&self, error: gpiocdev::Error) -> CdevError {
        CdevError::Kernel { line: self.id, source: cause(error) }
    }

    fn tell(&self, config: LineConfig) -> Result<(), CdevError> {
        let told = self.request.reconfigure(&config::config(self.id, config));
        told.map_err(|error| refused(self.id, config, cause(error)))
    }

    /// What the kernel is to be told for the line to be as `config` says, if anything. It passes over lines without a
    /// direction (`linereq_set_config_unlocked` in `drivers/gpio/gpiolib-cdev.c`): when one becomes as-is, what costs
    /// interrupts is ended, and the polarity is turned in [`Cdev2Line::read`].
    fn to_tell(&self, config: LineConfig) -> Option<LineConfig> {
        if config.mode == LineMode::AsIs { quiet(self.held) } else { Some(config) }
    }

    /// The next edge that waits. Not gpiocdev 0.8's `read_edge_event`: built for this interface alone it fetches up to eight
    /// and hands out one.
    fn fetch(&self) -> Result<KernelEdge, io::Error> {
        let mut event = [0; EDGE_WORDS];
        let words = self.request.read_edge_events_into_slice(&mut event).map_err(cause)?;
        self.request.edge_event_from_slice(&event[..words]).map_err(cause)
    }

    fn edge(&mut self, event: &KernelEdge) -> EdgeEvent {
        let missed = event.line_seqno.wrapping_sub(self.last_seq).wrapping_sub(1);
        self.last_seq = event.line_seqno;
        EdgeEvent {
            line: self.id,
            rising: event.kind == EdgeKind::Rising,
            at: Instant::from_nanos(event.timestamp_ns),
            seq: Some(event.line_seqno),
            lost: if missed == 0 { Lost::None } else { Lost::Some(missed) },
        }
    }
}

/// So that fetching an edge that is not there answers instead of waiting.
fn unblock(request: &Request) -> io::Result<()> {
    let flags = fcntl_getfl(request)?;
    Ok(fcntl_setfl(request, flags | OFlags::NONBLOCK)?)
}

/// A chip without interrupts answers a request for edges with ENXIO (`edge_detector_setup`).
fn refused(line: LineId, config: LineConfig, source: io::Error) -> CdevError {
    if edges(config) != Edges::None && Errno::from_io_error(&source) == Some(Errno::NXIO) {
        CdevError::NoEdges { line, source }
    } else {
        CdevError::Kernel { line, source }
    }
}

/// The same without interrupts, if it has any.
fn quiet(held: LineConfig) -> Option<LineConfig> {
    let LineMode::Input { bias, edges, debounce_us } = held.mode else { return None };
    let mode = LineMode::Input { bias, edges: Edges::None, debounce_us: 0 };
    (edges != Edges::None || debounce_us > 0).then_some(LineConfig { mode, ..held })
}

fn first_level(config: LineConfig) -> bool {
    matches!(config.mode, LineMode::Output { initial: true, .. })
}

impl ErrorType for Cdev2Line {
    type Error = CdevError;
}

impl InputPin for Cdev2Line {
    fn is_high(&mut self) -> Result<bool, CdevError> {
        self.read()
    }

    fn is_low(&mut self) -> Result<bool, CdevError> {
        self.read().map(|level| !level)
    }
}

impl OutputPin for Cdev2Line {
    fn set_low(&mut self) -> Result<(), CdevError> {
        self.write(false)
    }

    fn set_high(&mut self) -> Result<(), CdevError> {
        self.write(true)
    }
}

impl StatefulOutputPin for Cdev2Line {
    fn is_set_high(&mut self) -> Result<bool, CdevError> {
        self.output().map(|()| self.written)
    }

    fn is_set_low(&mut self) -> Result<bool, CdevError> {
        self.output().map(|()| !self.written)
    }
}

impl Line for Cdev2Line {
    fn id(&self) -> LineId {
        self.id
    }

    fn config(&self) -> LineConfig {
        self.config
    }

    fn reconfigure(&mut self, config: LineConfig) -> Result<(), CdevError> {
        if let Some(told) = self.to_tell(config) {
            // What was refused half-way is undone, as far as the kernel goes along.
            self.tell(told).inspect_err(|_| _ = self.tell(self.held.with_initial(self.written)))?;
            self.held = told;
        }
        if config.mode != LineMode::AsIs {
            self.written = first_level(config);
        }
        self.config = config;
        Ok(())
    }

    fn poll_edge(&mut self, cx: &mut Context<'_>) -> Poll<Result<EdgeEvent, CdevError>> {
        if edges(self.config) == Edges::None {
            return Poll::Ready(Err(CdevError::WrongMode { line: self.id, needed: "an input with edges" }));
        }
        match self.fetch() {
            Ok(event) => Poll::Ready(Ok(self.edge(&event))),
            Err(error) if fault::would_block(&error) => reactor::pending(self.id, self.request.as_fd(), cx),
            Err(source) => Poll::Ready(Err(CdevError::Kernel { line: self.id, source })),
        }
    }
}
