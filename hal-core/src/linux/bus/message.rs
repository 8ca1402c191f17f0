//! From embedded-hal's operations to messages on the wire.

use std::vec;
use std::vec::Vec;

use embedded_hal::i2c::Operation;

use super::BusError;
use crate::{I2C_MESSAGE_BYTES, I2C_MESSAGES};

/// One message of a transaction: neighbouring operations of one kind, joined.
///
/// embedded-hal wants them without a start between. i2cdev asks the kernel for that by a flag (`I2C_M_NOSTART`) which the
/// drivers of the Raspberry Pi's controllers do not look at; one joined message is the same on the wire and works
/// everywhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Write(Vec<u8>),
    Read(Vec<u8>),
}

impl Message {
    fn joined(operations: &[Operation<'_>]) -> Self {
        let bytes = operations.iter().map(length).sum();
        if matches!(operations, [Operation::Read(_), ..]) {
            return Self::Read(vec![0; bytes]);
        }
        let written = operations.iter().filter_map(|operation| match operation {
            Operation::Write(bytes) => Some(*bytes),
            Operation::Read(_) => None,
        });
        Self::Write(written.collect::<Vec<_>>().concat())
    }

    pub(super) fn operation(&mut self) -> Operation<'_> {
        match self {
            Self::Write(bytes) => Operation::Write(bytes),
            Self::Read(bytes) => Operation::Read(bytes),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Write(bytes) | Self::Read(bytes) => bytes.len(),
        }
    }
}

/// The messages of a transaction, or why the kernel would not take them.
pub(super) fn messages(operations: &[Operation<'_>]) -> Result<Vec<Message>, BusError> {
    let messages: Vec<_> = operations.chunk_by(same_kind).map(Message::joined).collect();
    if messages.len() > I2C_MESSAGES {
        return Err(BusError::TooLong { what: "messages", asked: messages.len(), limit: I2C_MESSAGES });
    }
    match messages.iter().map(Message::len).find(|&bytes| bytes > I2C_MESSAGE_BYTES) {
        Some(asked) => Err(BusError::TooLong { what: "bytes", asked, limit: I2C_MESSAGE_BYTES }),
        None => Ok(messages),
    }
}

/// Gives what was read to those who asked for it.
pub(super) fn hand_out(messages: &[Message], operations: &mut [Operation<'_>]) {
    for (message, group) in messages.iter().zip(operations.chunk_by_mut(same_kind)) {
        let Message::Read(read) = message else { continue };
        let mut rest = read.as_slice();
        for operation in group {
            let Operation::Read(into) = operation else { continue };
            let (these, others) = rest.split_at(into.len());
            into.copy_from_slice(these);
            rest = others;
        }
    }
}

fn same_kind(a: &Operation<'_>, b: &Operation<'_>) -> bool {
    matches!(a, Operation::Read(_)) == matches!(b, Operation::Read(_))
}

fn length(operation: &Operation<'_>) -> usize {
    match operation {
        Operation::Write(bytes) => bytes.len(),
        Operation::Read(into) => into.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, FaultKind};

    #[test]
    fn neighbours_of_one_kind_are_one_message() {
        let (mut first, mut second) = ([0; 1], [0; 2]);
        let mut operations = [
            Operation::Write(&[1]),
            Operation::Write(&[2, 3]),
            Operation::Read(&mut first),
            Operation::Read(&mut second),
        ];
        let mut messages = messages(&operations).unwrap();
        assert_eq!(messages, [Message::Write(vec![1, 2, 3]), Message::Read(vec![0; 3])]);
        messages[1] = Message::Read(vec![7, 8, 9]);
        hand_out(&messages, &mut operations);
        assert_eq!((first, second), ([7], [8, 9]));
    }

    #[test]
    fn a_change_of_kind_is_a_new_message() {
        let mut read = [0; 1];
        let operations = [Operation::Write(&[1]), Operation::Read(&mut read), Operation::Write(&[2])];
        assert_eq!(messages(&operations).unwrap().len(), 3);
        assert!(messages(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_the_kernel_does_not_take_is_refused_before() {
        let long = [0; I2C_MESSAGE_BYTES];
        assert!(messages(&[Operation::Write(&long)]).is_ok());
        let refused = messages(&[Operation::Write(&long), Operation::Write(&[0])]).unwrap_err();
        assert_eq!(refused.fault(), FaultKind::InvalidConfig);
        let mut bytes = [0; 43];
        let pairs = bytes.chunks_mut(1).enumerate();
        let many: Vec<_> =
            pairs.map(|(n, byte)| if n % 2 == 0 { Operation::Read(byte) } else { Operation::Write(byte) }).collect();
        assert!(matches!(messages(&many), Err(BusError::TooLong { what: "messages", asked: 43, .. })));
    }
}
