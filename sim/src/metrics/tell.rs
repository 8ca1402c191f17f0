//! A simulated system as its readings.

use hal_core::{
    BlockDevice, Clock as Frequency, CpuTime, Fan, FileSystem, Groups, Instant, Interface, Label, Own, Pressure,
    Processes, Reading, Resource, Stall, Throttled, Traffic, Trip, Voltage, Zone,
};

use super::state::{CORES, State, TRIPS};

/// What a kernel says of a device that does not answer.
fn fail(tell: &mut dyn FnMut(Reading<'_>), group: Groups, collector: &'static str) {
    tell(Reading::Failed { group, collector, why: "simulated: Input/output error (os error 5)" });
}

impl State {
    pub(super) fn tell(&self, now: Instant, group: Groups, tell: &mut dyn FnMut(Reading<'_>)) {
        match group {
            Groups::CPU => self.tell_processor(now, tell),
            Groups::LOAD => self.load.into_iter().for_each(|load| tell(Reading::Load(load))),
            Groups::MEMORY => match self.memory {
                Some(memory) => tell(Reading::Memory(memory)),
                None => fail(tell, group, "memory"),
            },
            Groups::DISK => self.tell_disk(now, tell),
            Groups::THERMAL => self.tell_thermal(tell),
            Groups::POWER => self.tell_power(tell),
            _ if !self.rest => {}
            Groups::PRESSURE => {
                let stall = Stall { percent: [0.0; 3], total_us: self.grown(now, 1, 20) };
                let pressure = Pressure { some: stall, full: Some(Stall::default()) };
                for resource in [Resource::Cpu, Resource::Memory, Resource::Io] {
                    tell(Reading::Pressure(resource, pressure));
                }
            }
            Groups::NETWORK => {
                for (number, name) in ["lo", "eth0"].into_iter().enumerate() {
                    tell(Reading::Interface(self.interface(now, name, 10 * number as u64)));
                }
            }
            Groups::CLOCK => {
                let throttled = self.throttled.is_some_and(|word| Throttled(word).now() != 0);
                let khz = if throttled { 600_000 } else { 1_500_000 };
                tell(Reading::Clock(Frequency { name: Label::new("cpu0"), khz, max_khz: Some(2_400_000) }));
            }
            Groups::PROCESS => {
                let forks = Some(self.grown(now, 5, 2) + 500);
                let tasks = Some(self.rate(6, 120) as u32);
                tell(Reading::Processes(Processes { tasks, running: Some(1), blocked: Some(0), forks }));
                let cpu_us = Some(self.grown(now, 7, 400));
                tell(Reading::Own(Own { rss_bytes: Some(6 << 20), descriptors: Some(17), cpu_us }));
            }
            _ => {}
        }
    }

    fn tell_processor(&self, now: Instant, tell: &mut dyn FnMut(Reading<'_>)) {
        match self.cpu {
            Some(cpu) => {
                let one = cpu.at(now);
                let all = |us: u64| us * u64::from(CORES);
                let (user_us, system_us, idle_us) = (all(one.user_us), all(one.system_us), all(one.idle_us));
                tell(Reading::Cpu(CpuTime { user_us, system_us, idle_us, ..one }));
                (0..CORES).for_each(|core| tell(Reading::Core(core, one)));
            }
            None => fail(tell, Groups::CPU, "cpu"),
        }
        if self.has_uptime {
            tell(Reading::Uptime(now.saturating_since(Instant::ZERO)));
        }
    }

    fn tell_disk(&self, now: Instant, tell: &mut dyn FnMut(Reading<'_>)) {
        match self.disk {
            Some(usage) => {
                let (device, kind) = (Label::new("/dev/mmcblk0p2"), Label::new("ext4"));
                let file_system = FileSystem { device, kind, read_only: self.read_only, usage: Some(usage) };
                tell(Reading::FileSystem { mount: "/", file_system });
            }
            None => fail(tell, Groups::DISK, "filesystem"),
        }
        if self.rest {
            let (reads, writes) = (self.grown(now, 2, 1), self.grown(now, 3, 1));
            let (read_bytes, written_bytes) = (reads * 16_384, writes * 4_096);
            let busy_ms = reads + 2 * writes;
            let name = Label::new("mmcblk0");
            tell(Reading::BlockDevice(BlockDevice { name, read_bytes, written_bytes, reads, writes, busy_ms }));
        }
    }

    fn tell_thermal(&self, tell: &mut dyn FnMut(Reading<'_>)) {
        let millicelsius = self.temperature_millicelsius;
        if millicelsius.is_none() {
            fail(tell, Groups::THERMAL, "thermal");
        }
        if millicelsius.is_some() || self.rest {
            let trips = TRIPS.map(|(kind, millicelsius)| Trip { kind: Label::new(kind), millicelsius });
            let zone = Zone { kind: Label::new("cpu-thermal"), processor: true, millicelsius };
            tell(Reading::Zone { zone, trips: &trips });
        }
        if self.rest {
            let step = TRIPS[..4].iter().filter(|(_, from)| millicelsius.is_some_and(|now| now >= *from)).count();
            let drive = [0, 75, 125, 175, 250][step];
            tell(Reading::Fan(Fan { name: "pwmfan".into(), rpm: Some(u32::from(drive) * 40), drive: Some(drive) }));
        }
    }

    fn tell_power(&self, tell: &mut dyn FnMut(Reading<'_>)) {
        let Some(word) = self.throttled else { return };
        tell(Reading::Throttled(Throttled(word)));
        let low = Some(Throttled(word).now() & Throttled::UNDER_VOLTAGE != 0);
        tell(Reading::Voltage(Voltage { name: "rpi_volt in0".into(), millivolts: None, low }));
    }

    fn interface(&self, now: Instant, name: &str, what: u64) -> Interface {
        let traffic = |what| {
            let packets = self.grown(now, what, 5);
            Traffic { bytes: packets * self.rate(what, 200), packets, errors: 0, dropped: 0 }
        };
        let (up, speed_mbit) = if name == "lo" { (None, None) } else { (Some(true), Some(1000)) };
        Interface { name: name.into(), up, speed_mbit, received: traffic(what + 100), sent: traffic(what + 101) }
    }
}
