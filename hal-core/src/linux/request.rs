//! From a configuration to a request of the kernel's first GPIO interface.

use std::io;

use gpio_cdev::{EventRequestFlags, LineEventHandle, LineHandle, LineRequestFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::chip::cause;
use super::{CdevError, fault};
use crate::{Bias, Drive, Edges, FaultKind, LineConfig, LineId, LineMode};

/// The first interface has a kind of request without edges and one with. A line without edges takes the former: it costs
/// no interrupts when its input floats, and works on chips that have none.
#[derive(Debug)]
pub(super) enum Request {
    Level(LineHandle),
    Edges(LineEventHandle),
    /// Given up, and not got back.
    Lost,
}

/// Requests a line; the request ends when it is dropped.
pub(super) fn request(
    line: &gpio_cdev::Line,
    id: LineId,
    config: LineConfig,
    consumer: &str,
) -> Result<Request, CdevError> {
    let flags = flags(id, config)?;
    let request = match wanted_edges(config) {
        None => line.request(flags, first_level(config).into(), consumer).map(Request::Level),
        Some(edges) => line.events(flags, edges, consumer).and_then(unblocked).map(Request::Edges),
    };
    request.map_err(|error| refused(line, id, config, cause(error)))
}

/// A chip without interrupts answers a request for edges with the same number as a chip that has disappeared: ENODEV in
/// `lineevent_create` (`drivers/gpio/gpiolib-cdev.c`). The latter does not tell of its lines any more.
fn refused(line: &gpio_cdev::Line, id: LineId, config: LineConfig, source: io::Error) -> CdevError {
    let gone = fault::kind_of(&source) == FaultKind::Gone;
    if gone && wanted_edges(config).is_some() && line.info().is_ok() {
        CdevError::NoEdges { line: id, source }
    } else {
        CdevError::Kernel { line: id, source }
    }
}

/// So that fetching an edge that is not there answers instead of waiting.
fn unblocked(handle: LineEventHandle) -> Result<LineEventHandle, gpio_cdev::Error> {
    let flags = fcntl_getfl(&handle).map_err(io::Error::from)?;
    fcntl_setfl(&handle, flags | OFlags::NONBLOCK).map_err(io::Error::from)?;
    Ok(handle)
}

/// The flags of a configuration, or why the interface cannot express it; the kernel is not asked.
pub(super) fn flags(id: LineId, config: LineConfig) -> Result<LineRequestFlags, CdevError> {
    let flags = match config.mode {
        LineMode::AsIs => LineRequestFlags::empty(),
        LineMode::Input { debounce_us: 1.., .. } => return Err(CdevError::Debounce { line: id }),
        LineMode::Input { bias, .. } => LineRequestFlags::INPUT | bias_flag(bias),
        LineMode::Output { drive, bias, .. } => LineRequestFlags::OUTPUT | bias_flag(bias) | drive_flag(drive),
    };
    let polarity = if config.active_low { LineRequestFlags::ACTIVE_LOW } else { LineRequestFlags::empty() };
    Ok(flags | polarity)
}

/// gpio-cdev has no names for the bias flags but passes them on: `GPIOHANDLE_REQUEST_BIAS_PULL_UP`, `_PULL_DOWN` and
/// `_DISABLE` in `include/uapi/linux/gpio.h`, since Linux 5.5.
fn bias_flag(bias: Bias) -> LineRequestFlags {
    LineRequestFlags::from_bits_retain(match bias {
        Bias::AsIs => 0,
        Bias::PullUp => 1 << 5,
        Bias::PullDown => 1 << 6,
        Bias::Disabled => 1 << 7,
    })
}

fn drive_flag(drive: Drive) -> LineRequestFlags {
    match drive {
        Drive::PushPull => LineRequestFlags::empty(),
        Drive::OpenDrain => LineRequestFlags::OPEN_DRAIN,
        Drive::OpenSource => LineRequestFlags::OPEN_SOURCE,
    }
}

fn wanted_edges(config: LineConfig) -> Option<EventRequestFlags> {
    match config.mode {
        LineMode::Input { edges: Edges::Rising, .. } => Some(EventRequestFlags::RISING_EDGE),
        LineMode::Input { edges: Edges::Falling, .. } => Some(EventRequestFlags::FALLING_EDGE),
        LineMode::Input { edges: Edges::Both, .. } => Some(EventRequestFlags::BOTH_EDGES),
        _ => None,
    }
}

/// The logical level that an output starts at.
pub(super) fn first_level(config: LineConfig) -> bool {
    matches!(config.mode, LineMode::Output { initial: true, .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    #[test]
    fn bias_flags_reach_the_kernel() {
        let config = LineConfig::input().with_bias(Bias::PullUp).active_low();
        assert_eq!(flags(LineId(2), config).unwrap().bits(), 0b10_0101);
    }

    #[test]
    fn as_is_asks_for_no_direction() {
        assert!(flags(LineId(2), LineConfig::as_is()).unwrap().is_empty());
    }

    #[test]
    fn debouncing_is_refused() {
        let mode = LineMode::Input { bias: Bias::AsIs, edges: Edges::Both, debounce_us: 1 };
        let error = flags(LineId(2), LineConfig { mode, active_low: false }).unwrap_err();
        assert_eq!(error.fault(), FaultKind::Unsupported);
    }

    #[test]
    fn only_inputs_with_edges_take_interrupts() {
        assert!(wanted_edges(LineConfig::input()).is_none());
        assert!(wanted_edges(LineConfig::output(true).with_edges(Edges::Both)).is_none());
        assert!(wanted_edges(LineConfig::input().with_edges(Edges::Rising)).is_some());
    }
}
