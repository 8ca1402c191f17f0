//! One simulated I²C bus.

use std::fmt;

use embedded_hal::i2c::{ErrorType, I2c, Operation};
use hal_core::{I2C_MESSAGE_BYTES, I2C_MESSAGES, I2cBus, Instant, Presence};

use super::{I2cDevices, SimBusError, Wiring};
use crate::state::Shared;

/// Whether a device acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Ack {
    /// It did.
    Yes,
    /// It did not: it is busy, or does not know what was written.
    No,
}

/// A device on an I²C bus.
///
/// Each call is one message from start to the next start or stop; neighbouring operations of one kind arrive as one. A
/// model must not use the bus it is on.
pub trait I2cModel: fmt::Debug + Send {
    /// Takes bytes. None at all is a question whether it is there.
    fn write(&mut self, now: Instant, bytes: &[u8]) -> Ack;

    /// Gives as many bytes as there is room for.
    fn read(&mut self, now: Instant, into: &mut [u8]) -> Ack;
}

/// Whose habits an I²C controller has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Controller {
    /// That of every Pi up to 4: reads only in the last message (`drivers/i2c/busses/i2c-bcm2835.c`). The default, since
    /// what works with it works with the other, but for messages without bytes.
    #[default]
    Bcm2835,
    /// That of the Pi 5 under a mainline kernel: no messages without bytes (`i2c-designware-master.c`,
    /// `I2C_AQ_NO_ZERO_LEN`). Raspberry Pi's own kernel has them, but what works here works there too.
    DesignWare,
}

impl Controller {
    /// What it cannot do of a transaction, in its own words for what it could.
    fn refuses(self, operations: &[Operation<'_>]) -> Option<&'static str> {
        let mut groups = operations.chunk_by(same_kind).rev();
        let read_early = || groups.clone().skip(1).any(|group| is_read(&group[0]));
        match self {
            Self::Bcm2835 if read_early() => Some("read in the last message only"),
            Self::DesignWare if groups.any(|group| length(group) == 0) => Some("read or write at least one byte"),
            _ => None,
        }
    }
}

/// One I²C bus of the simulated chip. Transfers take no time.
#[derive(Clone, Debug)]
pub struct SimI2c {
    shared: Shared,
    bus: u8,
}

impl SimI2c {
    pub(super) fn new(shared: Shared, bus: u8) -> Self {
        Self { shared, bus }
    }

    fn check(&self, wiring: &Wiring, operations: &[Operation<'_>]) -> Result<(), SimBusError> {
        let too_long = |what, asked, limit| Err(SimBusError::TooLong { what, asked, limit });
        let lengths = || operations.chunk_by(same_kind).map(length);
        match (lengths().count(), lengths().max().unwrap_or_default(), wiring.controller.refuses(operations)) {
            (messages, ..) if messages > I2C_MESSAGES => too_long("messages", messages, I2C_MESSAGES),
            (_, bytes, _) if bytes > I2C_MESSAGE_BYTES => too_long("bytes", bytes, I2C_MESSAGE_BYTES),
            (.., Some(advice)) => Err(SimBusError::Controller { bus: self.bus, advice }),
            _ => Ok(()),
        }
    }

    fn devices<'w>(&self, wiring: &'w mut Wiring) -> Result<&'w mut I2cDevices, SimBusError> {
        let devices = wiring.i2c.get_mut(&self.bus).ok_or(SimBusError::NoI2c { bus: self.bus })?;
        match devices.next_fault.take() {
            Some(kind) => Err(SimBusError::Injected { bus: self.bus, kind }),
            None => Ok(devices),
        }
    }
}

impl ErrorType for SimI2c {
    type Error = SimBusError;
}

impl I2c for SimI2c {
    /// A transaction without operations does nothing.
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), SimBusError> {
        let silent = SimBusError::NoAcknowledge { bus: self.bus, address };
        self.shared.on_buses(|wiring, now| {
            self.check(wiring, operations)?;
            let device = self.devices(wiring)?.at.get_mut(&address).ok_or_else(|| silent.clone())?;
            let mut messages = operations.chunk_by_mut(same_kind);
            let done = messages.all(|message| exchange(device.as_mut(), now, message) == Ack::Yes);
            if done { Ok(()) } else { Err(silent) }
        })
    }
}

impl I2cBus for SimI2c {
    /// As the Linux backend: a read of one byte where EEPROMs are and for controllers that cannot write none, else a
    /// write of none.
    fn probe(&mut self, address: u8) -> Result<Presence, SimBusError> {
        self.shared.on_buses(|wiring, now| {
            let reads = matches!(address, 0x30..=0x37 | 0x50..=0x5f) || wiring.controller == Controller::DesignWare;
            let ask = |device: &mut Box<dyn I2cModel>| {
                if reads { device.read(now, &mut [0]) } else { device.write(now, &[]) }
            };
            let answer = self.devices(wiring)?.at.get_mut(&address).map(ask);
            Ok(if answer == Some(Ack::Yes) { Presence::Present } else { Presence::Absent })
        })
    }
}

/// One message.
fn exchange(device: &mut dyn I2cModel, now: Instant, message: &mut [Operation<'_>]) -> Ack {
    let mut bytes = Vec::with_capacity(length(message));
    for operation in message.iter() {
        match operation {
            Operation::Write(part) => bytes.extend_from_slice(part),
            Operation::Read(part) => bytes.resize(bytes.len() + part.len(), 0),
        }
    }
    if !is_read(&message[0]) {
        return device.write(now, &bytes);
    }
    let ack = device.read(now, &mut bytes);
    hand_out(&bytes, message);
    ack
}

fn hand_out(mut read: &[u8], message: &mut [Operation<'_>]) {
    for operation in message {
        if let Operation::Read(into) = operation {
            let (these, others) = read.split_at(into.len());
            into.copy_from_slice(these);
            read = others;
        }
    }
}

fn is_read(operation: &Operation<'_>) -> bool {
    matches!(operation, Operation::Read(_))
}

fn same_kind(a: &Operation<'_>, b: &Operation<'_>) -> bool {
    is_read(a) == is_read(b)
}

fn length(message: &[Operation<'_>]) -> usize {
    let of = |operation: &Operation<'_>| match operation {
        Operation::Write(bytes) => bytes.len(),
        Operation::Read(into) => into.len(),
    };
    message.iter().map(of).sum()
}
