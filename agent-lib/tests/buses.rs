//! Which devices on buses may be talked to, and how much at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use agent_lib::{BusDevice, BusPolicy, BusRefusal, I2cPart};
use embedded_hal::i2c::I2c;
use hal_core::{Buses, FaultKind, SpiDeviceId};
use sim::SimBoard;

const READ: &[I2cPart] = &[I2cPart::Read(2)];
const FLASH: SpiDeviceId = SpiDeviceId { bus: 0, chip_select: 1 };

#[test]
fn the_default_is_what_the_header_has() {
    let policy = BusPolicy::default();
    let device = policy.check_i2c(1, 0x48, READ).unwrap();
    assert_eq!(device.to_string(), "I2C1:0x48");
    assert!(policy.check_i2c(1, 0x08, READ).is_ok() && policy.check_i2c(1, 0x77, READ).is_ok());
    assert!(matches!(policy.check_i2c(0, 0x50, READ), Err(BusRefusal::NotAllowed { .. })));
    assert_eq!(policy.check_spi(FLASH, 1_000_000, 4).unwrap().to_string(), "SPI0.1");
    let elsewhere = SpiDeviceId { bus: 10, chip_select: 0 };
    let refused = policy.check_spi(elsewhere, 1_000_000, 4).unwrap_err();
    let said = "SPI10.0 is not allowed on this node; allow it in the agent's policy or choose another device";
    assert_eq!(refused.to_string(), said);
}

#[test]
fn reserved_addresses_are_refused_on_every_bus() {
    for address in [0x00, 0x07, 0x78, 0x7f, 0xff] {
        let refused = BusPolicy::default().check_i2c(9, address, READ).unwrap_err();
        assert!(matches!(refused, BusRefusal::Reserved { .. }), "{address:#x}");
        let allowed = BTreeMap::from([(1, BTreeSet::from([0x48, address]))]);
        assert!(BusPolicy::new(allowed, BTreeSet::new()).is_err());
    }
    let refused = BusPolicy::default().check_i2c(1, 0x03, READ).unwrap_err();
    assert_eq!(refused.to_string(), "I²C address 0x03 is reserved; use 0x08 to 0x77");
}

#[test]
fn a_policy_of_ones_own_allows_nothing_else() {
    let policy = BusPolicy::new(BTreeMap::from([(3, BTreeSet::from([0x76]))]), BTreeSet::new()).unwrap();
    assert!(policy.check_i2c(3, 0x76, READ).is_ok());
    assert!(matches!(policy.check_i2c(3, 0x77, READ), Err(BusRefusal::NotAllowed { .. })));
    assert!(matches!(policy.check_i2c(1, 0x76, READ), Err(BusRefusal::NotAllowed { .. })));
    let to_scan: Vec<_> = policy.i2c().map(|(bus, addresses)| (bus, addresses.collect::<Vec<_>>())).collect();
    assert_eq!((to_scan, policy.spi().count()), (vec![(3, vec![0x76])], 0));
}

#[test]
fn a_transfer_has_parts_but_not_too_much() {
    let check = |parts: &[I2cPart]| BusPolicy::default().check_i2c(1, 0x48, parts);
    let limit = |asked: Result<_, _>| match asked {
        Err(BusRefusal::TooLong { what, limit, .. }) => Some((what, limit)),
        _ => None,
    };
    assert!(matches!(check(&[]), Err(BusRefusal::Empty { .. })));
    assert!(check(&[I2cPart::Write(vec![0; 8000]), I2cPart::Read(192)]).is_ok());
    assert_eq!(limit(check(&[I2cPart::Write(vec![0; 8000]), I2cPart::Read(193)])), Some(("bytes", 8192)));
    assert_eq!(limit(check(&[I2cPart::Read(usize::MAX), I2cPart::Read(2)])), Some(("bytes", 8192)));
    assert_eq!(limit(check(&vec![I2cPart::Read(1); 43])), Some(("parts", 42)));
}

#[test]
fn an_spi_transfer_has_a_clock_and_bytes() {
    let check = |hz, bytes| BusPolicy::default().check_spi(FLASH, hz, bytes);
    assert!(check(4_000, 1).is_ok() && check(125_000_000, 4096).is_ok());
    assert!(matches!(check(3_999, 1), Err(BusRefusal::Clock { .. })));
    assert!(matches!(check(125_000_001, 1), Err(BusRefusal::Clock { .. })));
    assert!(matches!(check(1_000_000, 0), Err(BusRefusal::Empty { .. })));
    assert!(matches!(check(1_000_000, 4097), Err(BusRefusal::TooLong { limit: 4096, .. })));
}

#[test]
fn what_the_bus_answers_keeps_its_kind_and_its_cause() {
    let mut bus = SimBoard::builder().build().buses().i2c(1).unwrap();
    let device = BusPolicy::default().check_i2c(1, 0x48, READ).unwrap();
    let refused = BusRefusal::hardware(device, bus.read(0x48, &mut [0; 2]).unwrap_err());
    assert!(matches!(refused, BusRefusal::Hardware { kind: FaultKind::NoAcknowledge, .. }));
    let said =
        "I2C1:0x48 could not be used: it does not answer; check address, wiring and power, or try again if it is busy";
    assert_eq!(refused.to_string(), said);
    assert!(refused.source().is_some());
    assert_eq!(device, BusDevice::I2c { bus: 1, address: 0x48 });
}
