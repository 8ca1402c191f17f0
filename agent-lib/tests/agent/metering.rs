//! The meter on a simulated system.

use std::time::Duration;

use agent_lib::Meter;
use hal_core::{Groups, Memory};
use sim::{Clock, SimMetrics};

#[test]
fn a_second_of_the_default_system() {
    let clock = Clock::new();
    let mut meter = Meter::new(SimMetrics::new(clock.clone()));
    meter.sample(clock.now(), Groups::ALL);
    assert_eq!(meter.latest().cpu_usage_percent, None);
    clock.advance(Duration::from_secs(1));
    meter.sample(clock.now(), Groups::ALL);
    let metrics = meter.latest();
    assert_eq!(metrics.cpu_usage_percent, Some(15.2));
    assert_eq!(metrics.cpu_window, Some(Duration::from_secs(1)));
    assert_eq!(metrics.memory_usage_percent, Some(37.5));
    assert_eq!(metrics.disk_usage_percent, Some(25.0));
    assert_eq!(metrics.temperature_celsius, Some(47.2));
    assert_eq!(metrics.sample.uptime, Some(Duration::from_secs(1)));
    assert_eq!(metrics.at, Some(clock.now()));
}

#[test]
fn a_broken_sensor_does_not_hide_the_others() {
    let clock = Clock::new();
    let system = SimMetrics::new(clock.clone());
    let mut meter = Meter::new(system.clone());
    system.set_temperature_millicelsius(None);
    system.set_memory(Some(Memory::default()));
    meter.sample(clock.now(), Groups::ALL);
    let metrics = meter.latest();
    assert_eq!((metrics.temperature_celsius, metrics.memory_usage_percent), (None, None));
    assert_eq!(metrics.disk_usage_percent, Some(25.0));
    assert_eq!(metrics.sample.failures.iter().map(|failure| failure.collector).collect::<Vec<_>>(), ["thermal"]);
}
