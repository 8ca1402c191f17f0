//! Simulated buses keep the rules of the wire and of the controllers.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use embedded_hal::i2c::{Error, ErrorKind, I2c, NoAcknowledgeSource, Operation};
use embedded_hal::spi::{self, MODE_0, SpiDevice};
use hal_core::{
    Buses, Fault, FaultKind, I2C_ADDRESSES, I2cBus, LineId, Presence, SPI_TRANSACTION_BYTES, SpiConfig, SpiDeviceId,
};
use sim::{Controller, Eeprom, Level, Lm75, RegisterMap, ShiftRegister, SimBoard, SpiLoopback};

const CONFIG: SpiConfig = SpiConfig { mode: MODE_0, hz: 1_000_000 };
const FIRST: SpiDeviceId = SpiDeviceId { bus: 0, chip_select: 0 };
const SECOND: SpiDeviceId = SpiDeviceId { bus: 0, chip_select: 1 };

#[test]
fn a_missing_device_does_not_acknowledge() {
    let board = SimBoard::builder().i2c(1, 0x48, Lm75::new(21_000)).build();
    let mut bus = board.buses().i2c(1).unwrap();
    assert!(bus.write(0x48, &[0]).is_ok());
    board.bench().detach_i2c(1, 0x48);
    let missing = bus.write(0x48, &[0]).unwrap_err();
    assert_eq!(Error::kind(&missing), ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown));
    assert_eq!(missing.fault(), FaultKind::NoAcknowledge);
    board.bench().attach_i2c(1, 0x48, Lm75::new(22_000));
    assert!(bus.write(0x48, &[0]).is_ok());
}

#[test]
fn a_scan_finds_what_is_there() {
    for controller in [Controller::Bcm2835, Controller::DesignWare] {
        let builder = SimBoard::builder().controller(controller);
        let board = builder.i2c(1, 0x48, Lm75::new(21_000)).i2c(1, 0x50, Eeprom::new_24c02()).build();
        let mut bus = board.buses().i2c(1).unwrap();
        let found: Vec<_> = I2C_ADDRESSES.filter(|address| bus.probe(*address).unwrap() == Presence::Present).collect();
        assert_eq!(found, [0x48, 0x50], "{controller:?}");
    }
}

#[test]
fn the_controllers_have_their_limits() {
    let read_between = |controller| {
        let board = SimBoard::builder().controller(controller).i2c(1, 0x20, RegisterMap::new([7; 4])).build();
        let mut byte = [0];
        let mut operations = [Operation::Read(&mut byte), Operation::Write(&[1])];
        board.buses().i2c(1).unwrap().transaction(0x20, &mut operations).map_err(|error| error.fault())
    };
    assert_eq!(read_between(Controller::Bcm2835), Err(FaultKind::Unsupported));
    assert_eq!(read_between(Controller::DesignWare), Ok(()));
    let without_bytes = |controller| {
        let board = SimBoard::builder().controller(controller).i2c(1, 0x20, RegisterMap::new([7; 4])).build();
        board.buses().i2c(1).unwrap().write(0x20, &[]).map_err(|error| error.fault())
    };
    assert_eq!(without_bytes(Controller::Bcm2835), Ok(()));
    assert_eq!(without_bytes(Controller::DesignWare), Err(FaultKind::Unsupported));
}

#[test]
fn neighbouring_operations_are_one_message() {
    let map = RegisterMap::new([0; 4]);
    let board = SimBoard::builder().i2c(1, 0x20, map.clone()).build();
    let (mut one, mut two) = ([0; 1], [0; 2]);
    let mut bus = board.buses().i2c(1).unwrap();
    bus.transaction(0x20, &mut [Operation::Write(&[1]), Operation::Write(&[10, 20, 30])]).unwrap();
    assert_eq!([0, 1, 2, 3].map(|register| map.get(register)), [0, 10, 20, 30]);
    let mut reads = [Operation::Write(&[1]), Operation::Read(&mut one), Operation::Read(&mut two)];
    bus.transaction(0x20, &mut reads).unwrap();
    assert_eq!((one, two), ([10], [20, 30]));
}

#[test]
fn what_the_kernel_does_not_take_is_refused() {
    let board = SimBoard::builder().i2c(1, 0x20, RegisterMap::new([0; 4])).spi(0, 0, SpiLoopback).build();
    let mut bus = board.buses().i2c(1).unwrap();
    assert!(bus.write(0x20, &[0; 8192]).is_ok());
    assert_eq!(bus.write(0x20, &[0; 8193]).unwrap_err().fault(), FaultKind::InvalidConfig);
    let mut spi = board.buses().spi(FIRST, CONFIG).unwrap();
    assert!(spi.write(&[0; SPI_TRANSACTION_BYTES]).is_ok());
    assert_eq!(spi.write(&[0; SPI_TRANSACTION_BYTES + 1]).unwrap_err().fault(), FaultKind::InvalidConfig);
}

#[test]
fn an_ordered_fault_happens_once() {
    let board = SimBoard::builder().i2c(1, 0x20, RegisterMap::new([0; 4])).build();
    let mut bus = board.buses().i2c(1).unwrap();
    board.bench().fail_next_i2c(1, FaultKind::Bus);
    assert_eq!(Error::kind(&bus.write(0x20, &[0]).unwrap_err()), ErrorKind::Bus);
    assert!(bus.write(0x20, &[0]).is_ok());
}

#[test]
fn the_header_s_buses_are_there_and_others_are_not() {
    let mut buses = SimBoard::builder().i2c(3, 0x20, RegisterMap::new([0; 4])).build().buses();
    assert_eq!(buses.i2c_buses().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(buses.spi_devices().collect::<Vec<_>>(), [FIRST, SECOND]);
    assert_eq!(buses.i2c(2).unwrap_err().fault(), FaultKind::Unsupported);
    let third = SpiDeviceId { bus: 0, chip_select: 2 };
    assert_eq!(buses.spi(third, CONFIG).unwrap_err().fault(), FaultKind::Unsupported);
    assert_eq!(buses.spi(FIRST, SpiConfig { hz: 0, ..CONFIG }).unwrap_err().fault(), FaultKind::InvalidConfig);
}

#[test]
#[should_panic(expected = "I²C address 0x78 is reserved")]
fn a_reserved_address_is_a_mistake() {
    SimBoard::builder().i2c(1, 0x78, Lm75::new(0));
}

#[test]
fn a_loop_reads_what_it_writes_and_nothing_reads_zeros() {
    let board = SimBoard::builder().spi(0, 0, SpiLoopback).build();
    let (mut in_place, mut read) = ([1, 2, 3], [0xff; 3]);
    let mut looped = board.buses().spi(FIRST, CONFIG).unwrap();
    looped.transfer_in_place(&mut in_place).unwrap();
    looped.transaction(&mut [spi::Operation::DelayNs(1), spi::Operation::Transfer(&mut read, &[4, 5])]).unwrap();
    assert_eq!((in_place, read), ([1, 2, 3], [4, 5, 0]));
    let mut nothing = board.buses().spi(SECOND, CONFIG).unwrap();
    nothing.read(&mut read).unwrap();
    assert_eq!(read, [0; 3]);
}

#[test]
fn a_shift_register_drives_lines_when_its_chip_select_ends() {
    let outputs: Vec<_> = (20..28).map(LineId).collect();
    let board = SimBoard::builder().spi(0, 0, ShiftRegister::new(outputs)).wire(LineId(20), LineId(5)).build();
    let mut register = board.buses().spi(FIRST, CONFIG).unwrap();
    register.write(&[0xff, 0b1000_0001]).unwrap();
    let level = |line| board.bench().level(LineId(line));
    assert_eq!([5, 20, 21, 27].map(level), [Level::High, Level::High, Level::Low, Level::High]);
    let ups = |line| board.bench().history(LineId(line)).iter().filter(|(_, level)| *level == Level::High).count();
    assert_eq!(ups(21), 0); // the byte on its way through is not seen
    let mut before = [0];
    register.read(&mut before).unwrap();
    assert_eq!((before, level(20)), ([0b1000_0001], Level::Low));
}
