//! What readings say about the node's health.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use hal_core::Throttled;

use crate::health::State;
use crate::meter::Metrics;

/// Where a Raspberry Pi's firmware begins to slow the processor down (Raspberry Pi documentation, "Frequency management
/// and thermal control").
const HOT_MILLICELSIUS: i32 = 85_000;

/// How a condition stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it holds.
    pub state: State,
    /// Why, in one word for programs.
    pub reason: &'static str,
    /// Why, in a sentence for people; may be empty.
    pub message: String,
}

impl Verdict {
    /// It holds.
    pub fn holds(reason: &'static str, message: impl Into<String>) -> Self {
        Self { state: State::True, reason, message: message.into() }
    }

    /// It does not.
    pub fn fails(reason: &'static str, message: impl Into<String>) -> Self {
        Self { state: State::False, reason, message: message.into() }
    }

    /// Nobody can say.
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { state: State::Unknown, reason, message: message.into() }
    }
}

/// Judges readings, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// File systems that took writes before, by where they are mounted.
    writable: BTreeSet<String>,
}

impl Vitals {
    /// Whether the system can be measured.
    pub fn metrics(&self, metrics: &Metrics) -> Verdict {
        if metrics.sample.is_empty() {
            return Verdict::fails("NothingReadable", self.failing(metrics));
        }
        match metrics.sample.failures.is_empty() {
            true => Verdict::holds("Sampled", ""),
            false => Verdict::holds("SomeUnreadable", self.failing(metrics)),
        }
    }

    fn failing(&self, metrics: &Metrics) -> String {
        let each = metrics.sample.failures.iter().map(|failure| format!("{} ({})", failure.collector, failure.why));
        each.collect::<alloc::vec::Vec<_>>().join("; ")
    }

    /// Whether the processor is not too hot.
    pub fn thermal(&self, metrics: &Metrics) -> Verdict {
        let now = metrics.sample.throttled.map_or(0, Throttled::now);
        let celsius = metrics.temperature_celsius.map(|celsius| format!("{celsius:.1} °C")).unwrap_or_default();
        if now & Throttled::SOFT_TEMPERATURE_LIMIT != 0 {
            return Verdict::fails("SoftTemperatureLimit", format!("the firmware slows the processor down: {celsius}"));
        }
        let Some((zone, trips)) = metrics.sample.processor_zone() else {
            return Verdict::unknown("NoSensor", "");
        };
        let Some(temperature) = zone.millicelsius else {
            return Verdict::unknown("SensorFailed", format!("{} cannot be read", zone.kind));
        };
        let serious = trips.iter().filter(|trip| ["hot", "critical", "passive"].contains(&trip.kind.as_str()));
        let limit = serious.map(|trip| trip.millicelsius).filter(|limit| *limit > 0).fold(HOT_MILLICELSIUS, i32::min);
        if temperature >= limit {
            return Verdict::fails("TooHot", format!("{celsius}, which is {} °C or more: cool it", limit / 1000));
        }
        if now & Throttled::THROTTLED != 0 {
            return Verdict::fails("Throttled", format!("the firmware slows the processor down: {celsius}"));
        }
        Verdict::holds("Cool", celsius)
    }

    /// Whether the supply holds its voltage.
    pub fn power(&self, metrics: &Metrics) -> Verdict {
        let alarm = metrics.sample.voltages.iter().find(|voltage| voltage.low == Some(true));
        let watched = metrics.sample.voltages.iter().any(|voltage| voltage.low.is_some());
        let now = metrics.sample.throttled.map(Throttled::now);
        let before = metrics.throttled_since_boot.is_some_and(|seen| seen & Throttled::UNDER_VOLTAGE != 0);
        match (now, alarm) {
            (Some(now), _) if now & Throttled::UNDER_VOLTAGE != 0 => {
                Verdict::fails("UnderVoltage", "the supply is below 4.63 V: use a stronger one, or a shorter cable")
            }
            (_, Some(voltage)) => Verdict::fails("UnderVoltage", format!("{} is too low", voltage.name)),
            (None, None) if !watched => Verdict::unknown("NotMeasured", ""),
            _ if before => Verdict::holds("Recovered", "there has been under-voltage since boot"),
            _ => Verdict::holds("Steady", ""),
        }
    }

    /// Whether all file systems that took writes still do. One that was read-only from the start is meant to be.
    pub fn storage(&mut self, metrics: &Metrics) -> Verdict {
        for (mount, file_system) in &metrics.sample.file_systems {
            if !file_system.read_only && !self.writable.contains(mount) {
                self.writable.insert(mount.clone());
            }
        }
        let turned = |(mount, file_system): &&(String, hal_core::FileSystem)| {
            file_system.read_only && self.writable.contains(mount)
        };
        let turned = metrics.sample.file_systems.iter().filter(turned).map(|(mount, _)| mount.as_str());
        let turned = turned.collect::<alloc::vec::Vec<_>>().join(", ");
        match turned.is_empty() {
            true => Verdict::holds("Writable", ""),
            false => {
                Verdict::fails("ReadOnly", format!("{turned} has turned read-only: look for disk errors in the log"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Failure;
    use alloc::vec;
    use hal_core::{FileSystem, Groups, Label, Trip, Voltage, Zone};

    fn hot(celsius: Option<i32>, trips: &[(&str, i32)]) -> Metrics {
        let millicelsius = celsius.map(|celsius| celsius * 1000);
        let zone = Zone { kind: Label::new("cpu-thermal"), processor: true, millicelsius };
        let trips =
            trips.iter().map(|(kind, celsius)| Trip { kind: Label::new(kind), millicelsius: celsius * 1000 }).collect();
        let mut metrics = Metrics::default();
        metrics.sample.zones = vec![(zone, trips)];
        metrics.temperature_celsius = celsius.map(f64::from);
        metrics
    }

    #[test]
    fn a_fan_that_turns_on_is_not_too_hot() {
        let reason = |metrics: &Metrics| Vitals::default().thermal(metrics).reason;
        assert_eq!(reason(&hot(Some(70), &[("active", 50), ("critical", 110)])), "Cool");
        assert_eq!(reason(&hot(Some(85), &[("critical", 110)])), "TooHot");
        assert_eq!(reason(&hot(Some(71), &[("passive", 70)])), "TooHot");
        assert_eq!(reason(&hot(None, &[])), "SensorFailed");
        assert_eq!(reason(&Metrics::default()), "NoSensor");
        let mut limited = hot(Some(80), &[]);
        limited.sample.throttled = Some(Throttled(Throttled::SOFT_TEMPERATURE_LIMIT));
        assert_eq!(reason(&limited), "SoftTemperatureLimit");
    }

    #[test]
    fn under_voltage_is_told_now_and_remembered() {
        let power = |metrics: &Metrics| Vitals::default().power(metrics);
        let mut metrics = Metrics::default();
        assert_eq!(power(&metrics).state, State::Unknown);
        metrics.sample.throttled = Some(Throttled(Throttled::UNDER_VOLTAGE));
        assert_eq!((power(&metrics).state, power(&metrics).reason), (State::False, "UnderVoltage"));
        metrics.sample.throttled = Some(Throttled(0));
        metrics.throttled_since_boot = Some(Throttled::UNDER_VOLTAGE);
        assert_eq!((power(&metrics).state, power(&metrics).reason), (State::True, "Recovered"));
        // the alarm alone, on a kernel without the firmware's word
        metrics.sample.throttled = None;
        metrics.sample.voltages = vec![Voltage { name: "rpi_volt in0".into(), millivolts: None, low: Some(true) }];
        assert_eq!(power(&metrics).reason, "UnderVoltage");
    }

    #[test]
    fn only_what_turns_read_only_is_a_fault() {
        let metrics = |read_only: [bool; 2]| {
            let mut metrics = Metrics::default();
            let each = ["/", "/rom"].into_iter().zip(read_only);
            let of =
                |(mount, read_only): (&str, bool)| (mount.into(), FileSystem { read_only, ..FileSystem::default() });
            metrics.sample.file_systems = each.map(of).collect();
            metrics
        };
        let mut vitals = Vitals::default();
        assert_eq!(vitals.storage(&metrics([false, true])).state, State::True);
        let turned = vitals.storage(&metrics([true, true]));
        assert_eq!((turned.state, turned.reason), (State::False, "ReadOnly"));
        assert!(turned.message.starts_with("/ has turned"), "{}", turned.message);
        assert_eq!(vitals.storage(&metrics([false, true])).state, State::True);
    }

    #[test]
    fn a_failed_collector_is_named() {
        let mut metrics = hot(Some(40), &[]);
        let failure = Failure { group: Groups::MEMORY, collector: "memory", why: "no such file".into() };
        metrics.sample.failures.push(failure);
        let told = Vitals::default().metrics(&metrics);
        assert_eq!((told.state, told.reason, &*told.message), (State::True, "SomeUnreadable", "memory (no such file)"));
        metrics.sample.zones.clear();
        assert_eq!(Vitals::default().metrics(&metrics).state, State::False);
    }
}
