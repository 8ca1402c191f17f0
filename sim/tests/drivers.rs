//! Drivers from the registry, unmodified: written by people who knew nothing of this simulation, they run on its claimed
//! lines and on its buses.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use eeprom24x::{Eeprom24x, SlaveAddr};
use embedded_hal::i2c::{Error, ErrorKind};
use hal_core::{Bias, Board, Buses, LineConfig, LineId};
use rotary_encoder_hal::{Direction, Rotary};
use sim::{Eeprom, Lm75, SimBoard};

#[test]
fn lm75_reads_a_temperature_on_both_controllers() {
    for controller in [sim::Controller::Bcm2835, sim::Controller::DesignWare] {
        let sensor = Lm75::new(23_500);
        let board = SimBoard::builder().controller(controller).i2c(1, 0x48, sensor.clone()).build();
        let mut driver = lm75::Lm75::new(board.buses().i2c(1).unwrap(), lm75::Address::default());
        assert_eq!(driver.read_temperature().unwrap(), 23.5);
        sensor.set_millicelsius(-10_200);
        assert_eq!(driver.read_temperature().unwrap(), -10.5);
        driver.disable().unwrap();
        sensor.set_millicelsius(40_000);
        assert_eq!(driver.read_temperature().unwrap(), -10.5);
        driver.enable().unwrap();
        assert_eq!(driver.read_temperature().unwrap(), 40.0);
    }
}

#[test]
fn lm75_is_told_that_its_sensor_is_unplugged() {
    let board = SimBoard::builder().i2c(1, 0x48, Lm75::new(23_500)).build();
    let mut driver = lm75::Lm75::new(board.buses().i2c(1).unwrap(), lm75::Address::default());
    board.bench().detach_i2c(1, 0x48);
    let lm75::Error::I2C(error) = driver.read_temperature().unwrap_err() else { panic!("another error") };
    assert!(matches!(Error::kind(&error), ErrorKind::NoAcknowledge(_)));
}

#[test]
fn eeprom24x_writes_page_by_page_and_reads_back() {
    let chip = Eeprom::new_24c256();
    let board = SimBoard::builder().i2c(1, 0x50, chip.clone()).build();
    let bench = board.bench();
    let mut driver = Eeprom24x::new_24x256(board.buses().i2c(1).unwrap(), SlaveAddr::default());
    for page in [0, 1] {
        driver.write_page(page * 64, &[page as u8 + 1; 64]).unwrap();
        bench.clock().advance(Duration::from_millis(5));
    }
    let mut read = [0; 130];
    driver.read_data(0, &mut read).unwrap();
    assert_eq!(read, *[[1; 64].as_slice(), &[2; 64], &[0xff; 2]].concat());
    assert_eq!(chip.contents()[..130], read);
}

#[test]
fn eeprom24x_finds_the_chip_busy_after_a_write() {
    let board = SimBoard::builder().i2c(1, 0x50, Eeprom::new_24c02()).build();
    let mut driver = Eeprom24x::new_24x02(board.buses().i2c(1).unwrap(), SlaveAddr::default());
    driver.write_page(8, &[1, 2, 3]).unwrap();
    let eeprom24x::Error::I2C(busy) = driver.read_byte(8).unwrap_err() else { panic!("another error") };
    assert!(matches!(Error::kind(&busy), ErrorKind::NoAcknowledge(_)));
    board.bench().clock().advance(Duration::from_millis(5));
    assert_eq!(driver.read_byte(9).unwrap(), 2);
}

#[test]
fn rotary_encoder_hal_follows_two_claimed_lines() {
    let mut board = SimBoard::builder().build();
    let bench = board.bench();
    let (a, b) = (LineId(5), LineId(6));
    let mut pulled_up = |line| board.claim(line, LineConfig::input().with_bias(Bias::PullUp), "knob").unwrap();
    let mut knob = Rotary::new(pulled_up(a), pulled_up(b));
    assert_eq!(knob.update().unwrap(), Direction::None);
    let closed = Some(false); // to ground
    for (line, level) in [(b, closed), (a, closed), (b, None), (a, None)] {
        bench.drive(line, level);
        assert_eq!(knob.update().unwrap(), Direction::Clockwise);
    }
    for (line, level) in [(a, closed), (b, closed), (a, None), (b, None)] {
        bench.drive(line, level);
        assert_eq!(knob.update().unwrap(), Direction::CounterClockwise);
    }
}
