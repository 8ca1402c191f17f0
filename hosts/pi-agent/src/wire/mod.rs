//! Between messages and our own types, by kind of thing. Nothing of prost goes further in than here, nothing of
//! `agent-lib` further out. Messages are destructured in full, so that a new field cannot pass unseen.

mod answer;
mod bus;
mod command;
mod line;
mod refusal;
mod system;

pub(crate) use answer::{grant, line_status, outcome, position, reading, record, several, touched};
pub(crate) use bus::{byte, i2c_parts, spi_transfer};
pub(crate) use command::{
    below, command_refusal, command_response, job, kept_bytes, lost, lost_job, not_started, optional_duration,
    outcome_word, request_id, running, terminal, window_size, without_outputs,
};
pub(crate) use line::{claim, config, level, line, line_name, pulse};
pub(crate) use refusal::{bus_refusal, invalid, is_held, not_yet, refusal, status};
pub(crate) use system::{duration, health, inventory, metrics};
