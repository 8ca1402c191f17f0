//! A temperature sensor.

use std::sync::{Arc, Mutex};

use hal_core::Instant;

use super::{Ack, I2cModel, lock};

/// A temperature sensor of the LM75 family: half degrees from −55 to 125 °C, thresholds at 80 and 75 °C after reset, a
/// shutdown bit that freezes the reading (National Semiconductor, LM75A data sheet). Its alarm output is not modelled.
///
/// Clones are the same sensor, so that a test can warm it.
#[derive(Clone, Debug)]
pub struct Lm75(Arc<Mutex<Sensor>>);

#[derive(Debug)]
struct Sensor {
    millicelsius: i32,
    /// Temperature, configuration, hysteresis, over-temperature; the second has 8 bits.
    registers: [u16; 4],
    pointer: usize,
}

const TEMPERATURE: usize = 0;
const CONFIGURATION: usize = 1;
const SHUTDOWN: u16 = 1;

impl Lm75 {
    /// A sensor in surroundings of this temperature in thousandths of a degree Celsius.
    pub fn new(millicelsius: i32) -> Self {
        let registers = [0, 0, half_degrees(75_000), half_degrees(80_000)];
        let mut sensor = Sensor { millicelsius, registers, pointer: 0 };
        sensor.convert();
        Self(Arc::new(Mutex::new(sensor)))
    }

    /// Changes the temperature of its surroundings.
    pub fn set_millicelsius(&self, millicelsius: i32) {
        let mut sensor = lock(&self.0);
        sensor.millicelsius = millicelsius;
        sensor.convert();
    }
}

impl Sensor {
    /// Takes the temperature, unless shut down.
    fn convert(&mut self) {
        if self.registers[CONFIGURATION] & SHUTDOWN == 0 {
            self.registers[TEMPERATURE] = half_degrees(self.millicelsius);
        }
    }

    fn store(&mut self, register: usize, values: &[u8]) {
        match (register, values) {
            (CONFIGURATION, [.., last]) => self.registers[register] = (*last).into(),
            (2 | 3, [high, low, ..]) => self.registers[register] = u16::from_be_bytes([*high, *low]) & 0xff80,
            _ => {} // the temperature is read-only
        }
        self.convert();
    }

    fn bytes(&self) -> [u8; 2] {
        match self.pointer {
            CONFIGURATION => [self.registers[CONFIGURATION] as u8; 2],
            register => self.registers[register].to_be_bytes(),
        }
    }
}

impl I2cModel for Lm75 {
    /// The two lowest bits of the first byte choose the register.
    fn write(&mut self, _now: Instant, bytes: &[u8]) -> Ack {
        if let [pointer, values @ ..] = bytes {
            let mut sensor = lock(&self.0);
            sensor.pointer = usize::from(*pointer & 0b11);
            let register = sensor.pointer;
            sensor.store(register, values);
        }
        Ack::Yes
    }

    /// Gives the register over and over.
    fn read(&mut self, _now: Instant, into: &mut [u8]) -> Ack {
        let bytes = lock(&self.0).bytes();
        into.iter_mut().zip(bytes.into_iter().cycle()).for_each(|(into, byte)| *into = byte);
        Ack::Yes
    }
}

/// Nine bits of two's complement at the top, each half a degree; rounded down.
fn half_degrees(millicelsius: i32) -> u16 {
    let halves = millicelsius.clamp(-55_000, 125_000).div_euclid(500);
    (halves as i16 as u16) << 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_data_sheet() {
        // Table "Temperature data format".
        let known = [(125_000, 0x7d00), (25_000, 0x1900), (500, 0x0080), (0, 0), (-500, 0xff80), (-55_000, 0xc900)];
        for (millicelsius, register) in known {
            assert_eq!(half_degrees(millicelsius), register, "{millicelsius}");
        }
    }

    #[test]
    fn shut_down_it_keeps_the_last_reading() {
        let mut sensor = Lm75::new(20_000);
        let mut read = [0; 2];
        assert_eq!(sensor.write(Instant::ZERO, &[1, 1]), Ack::Yes);
        sensor.set_millicelsius(30_000);
        assert_eq!(sensor.write(Instant::ZERO, &[0]), Ack::Yes);
        assert_eq!((sensor.read(Instant::ZERO, &mut read), read), (Ack::Yes, [20, 0]));
        assert_eq!(sensor.write(Instant::ZERO, &[1, 0]), Ack::Yes);
        assert_eq!(sensor.write(Instant::ZERO, &[0]), Ack::Yes);
        assert_eq!((sensor.read(Instant::ZERO, &mut read), read), (Ack::Yes, [30, 0]));
    }
}
