//! An EEPROM.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hal_core::Instant;

use super::{Ack, I2cModel, lock};

/// How long a device writes into its cells and answers nothing (Microchip, AT24C02C and AT24C256C data sheets, the
/// longest time).
const WRITE_CYCLE: Duration = Duration::from_millis(5);

/// An EEPROM of the 24C family, erased to 0xff. A write beyond the end of a page goes on at its beginning; for 5 ms after
/// a write it acknowledges nothing.
///
/// Clones are the same device, so that a test can look into it.
#[derive(Clone, Debug)]
pub struct Eeprom(Arc<Mutex<Cells>>);

#[derive(Debug)]
struct Cells {
    bytes: Vec<u8>,
    page: usize,
    address_bytes: usize,
    pointer: usize,
    busy_until: Instant,
}

impl Eeprom {
    /// A 24C02: 256 bytes in pages of 8, addressed by one byte.
    pub fn new_24c02() -> Self {
        Self::new(256, 8, 1)
    }

    /// A 24C256: 32 KiB in pages of 64, addressed by two bytes.
    pub fn new_24c256() -> Self {
        Self::new(32 * 1024, 64, 2)
    }

    /// The bytes that it holds.
    pub fn contents(&self) -> Vec<u8> {
        lock(&self.0).bytes.clone()
    }

    fn new(size: usize, page: usize, address_bytes: usize) -> Self {
        let bytes = vec![0xff; size];
        Self(Arc::new(Mutex::new(Cells { bytes, page, address_bytes, pointer: 0, busy_until: Instant::ZERO })))
    }
}

impl Cells {
    fn point_to(&mut self, address: &[u8]) {
        let address = address.iter().fold(0, |high, low| high << 8 | usize::from(*low));
        self.pointer = address % self.bytes.len();
    }

    /// Within the page only the place in the page moves.
    fn store(&mut self, value: u8) {
        self.bytes[self.pointer] = value;
        let start = self.pointer - self.pointer % self.page;
        self.pointer = start + (self.pointer + 1) % self.page;
    }

    fn next(&mut self) -> u8 {
        let value = self.bytes[self.pointer];
        self.pointer = (self.pointer + 1) % self.bytes.len();
        value
    }
}

impl I2cModel for Eeprom {
    /// Bytes too few for an address are acknowledged and change nothing.
    fn write(&mut self, now: Instant, bytes: &[u8]) -> Ack {
        let mut cells = lock(&self.0);
        if now < cells.busy_until {
            return Ack::No;
        }
        let Some((address, values)) = bytes.split_at_checked(cells.address_bytes) else { return Ack::Yes };
        cells.point_to(address);
        values.iter().for_each(|value| cells.store(*value));
        if !values.is_empty() {
            cells.busy_until = now.saturating_add(WRITE_CYCLE);
        }
        Ack::Yes
    }

    fn read(&mut self, now: Instant, into: &mut [u8]) -> Ack {
        let mut cells = lock(&self.0);
        if now < cells.busy_until {
            return Ack::No;
        }
        into.fill_with(|| cells.next());
        Ack::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_wraps_within_its_page() {
        let mut eeprom = Eeprom::new_24c02();
        assert_eq!(eeprom.write(Instant::ZERO, &[6, 1, 2, 3]), Ack::Yes);
        assert_eq!(eeprom.contents()[..9], [3, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 0xff]);
    }

    #[test]
    fn it_is_busy_for_five_milliseconds() {
        let mut eeprom = Eeprom::new_24c02();
        let at = |nanos| Instant::from_nanos(nanos);
        assert_eq!(eeprom.write(at(0), &[0, 1]), Ack::Yes);
        assert_eq!((eeprom.write(at(4_999_999), &[]), eeprom.read(at(4_999_999), &mut [0])), (Ack::No, Ack::No));
        assert_eq!(eeprom.write(at(5_000_000), &[]), Ack::Yes);
        assert_eq!(eeprom.write(at(5_000_000), &[0]), Ack::Yes); // only an address: no write cycle
        let mut read = [0; 2];
        assert_eq!((eeprom.read(at(5_000_000), &mut read), read), (Ack::Yes, [1, 0xff]));
    }

    #[test]
    fn reading_wraps_at_the_end_of_the_memory() {
        let mut eeprom = Eeprom::new_24c256();
        assert_eq!(eeprom.write(Instant::ZERO, &[0, 0, 7]), Ack::Yes);
        let later = Instant::from_nanos(5_000_000);
        assert_eq!(eeprom.write(later, &[0x7f, 0xff]), Ack::Yes);
        let mut read = [0; 2];
        assert_eq!((eeprom.read(later, &mut read), read), (Ack::Yes, [0xff, 7]));
    }
}
