//! Buses and lines exclude each other.

use agent_lib::{BusDevice, BusRefusal, Refusal};
use hal_core::{LineConfig, SpiDeviceId};

use crate::*;

const SENSOR: BusDevice = BusDevice::I2c { bus: 1, address: 0x48 };
const SDA: LineId = LineId(2);
const SCL: LineId = LineId(3);

#[test]
fn a_held_line_keeps_its_bus_from_talking() {
    let (mut agent, _) = agent();
    agent.claim(T0, anna().caller(), SCL, Claim::permanent(LineConfig::input())).unwrap();
    let refused = agent.lend_lines(T0, SENSOR).unwrap_err();
    assert!(matches!(&refused, BusRefusal::LineHeld { line: SCL, holder, .. } if *holder == anna()), "{refused}");
    assert_eq!(refused.to_string(), "I2C1:0x48 needs GPIO3, which is held by operator/anna; ask them to release it");
    agent.claim(T0, anna().caller(), SDA, Claim::permanent(LineConfig::input())).unwrap(); // nothing was lent
    agent.release_all(T0);
    agent.lend_lines(T0, SENSOR).unwrap();
}

#[test]
fn a_lease_that_ran_out_is_in_nobody_s_way() {
    let (mut agent, _) = agent();
    let lease = Claim::leased(LineConfig::input(), Duration::from_secs(1), Some(SafeState::Input));
    agent.claim(T0, anna().caller(), SDA, lease).unwrap();
    assert!(agent.lend_lines(T0, SENSOR).is_err());
    agent.lend_lines(seconds(1), SENSOR).unwrap();
}

#[test]
fn a_bus_in_use_keeps_its_lines() {
    let (mut agent, bench) = agent();
    agent.lend_lines(T0, SENSOR).unwrap();
    agent.lend_lines(T0, SENSOR).unwrap(); // for each transfer
    let before = bench.requests(SDA);
    let refusals = [
        agent.read(T0, SDA).map(drop),
        agent.write(T0, anna().caller(), SDA, true, None),
        agent.claim(T0, anna().caller(), SDA, Claim::permanent(LineConfig::as_is())).map(drop),
        agent.watch(T0, &[SDA], 1, None).map(drop),
    ];
    for refused in refusals {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Refusal::OnBus { line: SDA, .. }), "{refused}");
        assert!(refused.to_string().starts_with("GPIO2 belongs to I2C1, which this agent has in use; "), "{refused}");
    }
    assert_eq!(bench.requests(SDA), before);
    agent.write(T0, anna().caller(), LED, true, None).unwrap();
    agent.return_lines(SENSOR.bus());
    agent.write(T0, anna().caller(), SDA, true, None).unwrap();
}

#[test]
fn a_watch_is_in_the_way_of_a_bus_and_other_buses_are_not_known() {
    let (mut agent, _) = agent();
    let watch = agent.watch(T0, &[LineId(9)], 1, None).unwrap();
    let on = |bus| BusDevice::Spi(SpiDeviceId { bus, chip_select: 0 });
    let refused = agent.lend_lines(T0, on(0)).unwrap_err().to_string();
    assert_eq!(refused, "SPI0.0 needs GPIO9, which is held by watch; ask them to release it");
    agent.lend_lines(T0, on(1)).unwrap();
    agent.unwatch(watch);
    agent.lend_lines(T0, on(0)).unwrap();
}
