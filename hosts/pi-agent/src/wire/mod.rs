//! Between messages and our own types, by kind of thing. Nothing of prost goes further in than here, nothing of
//! `agent-lib` further out. Messages are destructured in full, so that a new field cannot pass unseen.

mod answer;
mod bus;
mod command;
mod line;
mod log;
mod metrics;
mod refusal;
mod system;

pub(crate) use answer::{
    grant, limited_outcome, line_status, outcome, position, reading, record, several, signal, touched,
};
pub(crate) use bus::{byte, i2c_parts, spi_transfer};
pub(crate) use command::{
    below, command_refusal, command_response, job, kept_bytes, lost, lost_job, not_started, optional_duration,
    outcome_word, request_id, running, terminal, window_size, without_outputs,
};
pub(crate) use line::{claim, config, level, line, line_name, pulse, pwm};
pub(crate) use log::{log_cursor_lost, log_dropped, log_entry, log_filter, log_notice, log_of, log_source_status};
#[cfg(feature = "prometheus")]
pub(crate) use metrics::resource;
pub(crate) use metrics::{metrics, stream};
pub(crate) use refusal::{bus_refusal, invalid, is_held, rate_limited, refusal, status, too_many_streams};
pub(crate) use system::{duration, health, inventory};
