//! The most common I²C device: bytes behind a pointer.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use hal_core::Instant;

use super::{Ack, I2cModel, lock};

/// Registers of one byte, as most sensors and expanders have them: the first byte of a message sets the pointer, the
/// others are stored, and reads go on from the pointer; it moves on with every byte, from the last register to the first.
///
/// Clones are the same device, so that a test can look at what a driver wrote.
#[derive(Clone, Debug)]
pub struct RegisterMap(Arc<Mutex<Registers>>);

#[derive(Debug)]
struct Registers {
    bytes: Vec<u8>,
    read_only: Vec<Range<u8>>,
    pointer: usize,
}

impl RegisterMap {
    /// Registers 0 and up with these values; what stands after the 256th is left out.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn new(values: impl Into<Vec<u8>>) -> Self {
        let mut bytes = values.into();
        bytes.truncate(256);
        assert!(!bytes.is_empty(), "a register map needs a register");
        Self(Arc::new(Mutex::new(Registers { bytes, read_only: Vec::new(), pointer: 0 })))
    }

    /// The same with registers that acknowledge a write and stay as they are.
    pub fn read_only(self, registers: Range<u8>) -> Self {
        lock(&self.0).read_only.push(registers);
        self
    }

    /// A register's value; 0 for one that is not there.
    pub fn get(&self, register: u8) -> u8 {
        lock(&self.0).bytes.get(usize::from(register)).copied().unwrap_or_default()
    }

    /// Changes a register from inside the device, also a read-only one; one that is not there takes no notice.
    pub fn set(&self, register: u8, value: u8) {
        if let Some(byte) = lock(&self.0).bytes.get_mut(usize::from(register)) {
            *byte = value;
        }
    }
}

impl Registers {
    /// The register at the pointer, which moves on.
    fn next(&mut self) -> usize {
        let register = self.pointer % self.bytes.len();
        self.pointer = register + 1;
        register
    }

    fn store(&mut self, value: u8) {
        let register = self.next();
        if !self.read_only.iter().any(|range| range.contains(&(register as u8))) {
            self.bytes[register] = value;
        }
    }
}

impl I2cModel for RegisterMap {
    /// Does not acknowledge a pointer to a register that is not there.
    fn write(&mut self, _now: Instant, bytes: &[u8]) -> Ack {
        let mut registers = lock(&self.0);
        let [pointer, values @ ..] = bytes else { return Ack::Yes };
        if usize::from(*pointer) >= registers.bytes.len() {
            return Ack::No;
        }
        registers.pointer = usize::from(*pointer);
        values.iter().for_each(|value| registers.store(*value));
        Ack::Yes
    }

    fn read(&mut self, _now: Instant, into: &mut [u8]) -> Ack {
        let mut registers = lock(&self.0);
        for byte in into {
            let register = registers.next();
            *byte = registers.bytes[register];
        }
        Ack::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_moves_and_wraps() {
        let mut map = RegisterMap::new([1, 2, 3]).read_only(1..2);
        let now = Instant::ZERO;
        assert_eq!(map.write(now, &[0, 10, 20, 30, 40]), Ack::Yes);
        assert_eq!([0, 1, 2, 3].map(|register| map.get(register)), [40, 2, 30, 0]);
        let mut read = [0; 3];
        assert_eq!((map.read(now, &mut read), read), (Ack::Yes, [2, 30, 40]));
        assert_eq!(map.write(now, &[3]), Ack::No);
        assert_eq!(map.write(now, &[]), Ack::Yes);
    }
}
