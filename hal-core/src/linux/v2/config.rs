//! From a configuration to what the kernel is sent.

use core::time::Duration;

use gpiocdev::line::{self, EdgeDetection};
use gpiocdev::request::Config;

use crate::{Bias, Drive, Edges, LineConfig, LineId, LineMode};

/// A request's whole configuration: that of its one line.
pub(super) fn config(id: LineId, config: LineConfig) -> Config {
    let mut kernel = Config::default();
    kernel.with_line(u32::from(id.0));
    match config.mode {
        LineMode::AsIs => kernel.as_is(),
        LineMode::Input { bias: pull, edges, debounce_us } => kernel
            .as_input()
            .with_bias(bias(pull))
            .with_edge_detection(detection(edges))
            .with_debounce_period(Duration::from_micros(debounce_us.into())),
        LineMode::Output { drive: how, bias: pull, initial } => {
            kernel.as_output(initial.into()).with_drive(drive(how)).with_bias(bias(pull))
        }
    };
    if config.active_low {
        kernel.as_active_low();
    }
    kernel
}

fn bias(bias: Bias) -> Option<line::Bias> {
    match bias {
        Bias::AsIs => None,
        Bias::Disabled => Some(line::Bias::Disabled),
        Bias::PullUp => Some(line::Bias::PullUp),
        Bias::PullDown => Some(line::Bias::PullDown),
    }
}

fn drive(drive: Drive) -> line::Drive {
    match drive {
        Drive::PushPull => line::Drive::PushPull,
        Drive::OpenDrain => line::Drive::OpenDrain,
        Drive::OpenSource => line::Drive::OpenSource,
    }
}

fn detection(edges: Edges) -> Option<EdgeDetection> {
    match edges {
        Edges::None => None,
        Edges::Rising => Some(EdgeDetection::RisingEdge),
        Edges::Falling => Some(EdgeDetection::FallingEdge),
        Edges::Both => Some(EdgeDetection::BothEdges),
    }
}

/// The edges that a configuration reports.
pub(super) fn edges(config: LineConfig) -> Edges {
    match config.mode {
        LineMode::Input { edges, .. } => edges,
        _ => Edges::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpiocdev::line::Direction;

    fn sent(wanted: LineConfig) -> line::Config {
        config(LineId(2), wanted).line_config(2).unwrap().clone()
    }

    #[test]
    fn an_input_is_sent_whole() {
        let mode = LineMode::Input { bias: Bias::PullUp, edges: Edges::Rising, debounce_us: 5_000 };
        let sent = sent(LineConfig { mode, active_low: true });
        assert_eq!((sent.direction, sent.active_low), (Some(Direction::Input), true));
        assert_eq!((sent.bias, sent.edge_detection), (Some(line::Bias::PullUp), Some(EdgeDetection::RisingEdge)));
        assert_eq!(sent.debounce_period, Some(Duration::from_millis(5)));
    }

    #[test]
    fn an_output_is_sent_whole() {
        let sent = sent(LineConfig::output(true).with_drive(Drive::OpenDrain).with_bias(Bias::Disabled));
        assert_eq!((sent.direction, sent.value), (Some(Direction::Output), Some(line::Value::Active)));
        assert_eq!((sent.drive, sent.bias), (Some(line::Drive::OpenDrain), Some(line::Bias::Disabled)));
    }

    #[test]
    fn as_is_asks_for_no_direction() {
        let sent = sent(LineConfig::as_is().active_low());
        assert_eq!((sent.direction, sent.bias, sent.active_low), (None, None, true));
    }

    #[test]
    fn no_debouncing_is_not_sent() {
        assert_eq!(sent(LineConfig::input()).debounce_period, None);
    }
}
