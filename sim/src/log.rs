//! What a Raspberry Pi that does not exist says in its log.

use std::time::Duration;

/// One entry, as the machine would have written it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimLogEntry {
    /// Since the simulated machine was set up; a later boot begins with a larger one.
    pub at: Duration,
    /// Since the boot that it belongs to.
    pub since_boot: Duration,
    /// Counted from 0.
    pub boot: u32,
    /// 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// Systemd unit; empty for the kernel's.
    pub unit: &'static str,
    /// Who said it.
    pub identifier: &'static str,
    /// Process; 0 for the kernel's.
    pub pid: u32,
    /// The text.
    pub message: String,
}

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SimLogEvent {
    /// An entry.
    Entry(SimLogEntry),
    /// So many entries are lost here.
    Gap(u64),
}

/// An endless log, the same for the same seed: a service or the kernel says something every 0.5 to 10 s, most of it
/// harmless. A script of faults comes in between ([`SimLog::burst`], [`SimLog::gap`], [`SimLog::reboot`]).
#[derive(Clone, Debug)]
pub struct SimLog {
    random: u64,
    now: Duration,
    boot: u32,
    booted_at: Duration,
    /// Lines of the boot that were said.
    booting: usize,
    burst: u64,
    gap: u64,
}

/// A source of lines: how often (weight), priority, unit, identifier, pid, and the line; `#` is some number.
type Voice = (u32, u8, &'static str, &'static str, u32, &'static str);

const VOICES: [Voice; 16] = [
    (8, 6, "nginx.service", "nginx", 812, "192.168.1.# - - \"GET /api/v1/status HTTP/1.1\" 200 #"),
    (3, 6, "nginx.service", "nginx", 812, "192.168.1.# - - \"POST /api/v1/readings HTTP/1.1\" 201 #"),
    (1, 4, "nginx.service", "nginx", 812, "192.168.1.# - - \"GET /favicon.ico HTTP/1.1\" 404 #"),
    (4, 6, "ssh.service", "sshd", 2041, "Accepted publickey for pi from 192.168.1.# port 5#"),
    (1, 4, "ssh.service", "sshd", 2044, "Invalid user admin from 203.0.113.# port 4#"),
    (4, 6, "cron.service", "CRON", 3120, "(root) CMD (cd / && run-parts --report /etc/cron.hourly)"),
    (4, 6, "systemd-timesyncd.service", "systemd-timesyncd", 410, "Contacted time server 192.168.1.1:123, offset #us"),
    (3, 6, "dhcpcd.service", "dhcpcd", 377, "eth0: renewing lease of 192.168.1.#"),
    (3, 6, "init.scope", "systemd", 1, "Started Daily apt download activities."),
    (3, 6, "init.scope", "systemd", 1, "session-#.scope: Deactivated successfully."),
    (3, 7, "bluetooth.service", "bluetoothd", 533, "src/adapter.c:discovery_callback() status 0x#"),
    (2, 6, "sensors.service", "sensors", 1290, "lm75 0x48 reads 21.# C"),
    (1, 3, "sensors.service", "sensors", 1290, "lm75 0x48: no acknowledge, trying again (#)"),
    (2, 6, "", "kernel", 0, "usb 1-1.#: new high-speed USB device using xhci_hcd"),
    (1, 4, "", "kernel", 0, "hwmon hwmon1: Undervoltage detected!"),
    (1, 6, "", "kernel", 0, "hwmon hwmon1: Voltage normalised"),
];

const BOOT: [Voice; 5] = [
    (0, 5, "", "kernel", 0, "Linux version 6.6.# (simulated) (gcc) #1 SMP PREEMPT"),
    (0, 6, "", "kernel", 0, "Machine model: Simulated Raspberry Pi"),
    (0, 6, "", "kernel", 0, "gpiochip0: registered 28 lines"),
    (0, 6, "init.scope", "systemd", 1, "Reached target Multi-User System."),
    (0, 6, "pi-agent.service", "pi-agent", 690, "serving"),
];

impl SimLog {
    /// The log of one machine; it begins with its boot.
    pub fn new(seed: u64) -> Self {
        let (now, booted_at) = (Duration::ZERO, Duration::ZERO);
        Self { random: seed, now, boot: 0, booted_at, booting: 0, burst: 0, gap: 0 }
    }

    /// The next `count` entries come without a pause.
    pub fn burst(&mut self, count: u64) {
        self.burst += count;
    }

    /// `count` entries are lost here.
    pub fn gap(&mut self, count: u64) {
        self.gap += count;
    }

    /// The machine boots anew here.
    pub fn reboot(&mut self) {
        self.boot += 1;
        self.now += Duration::from_secs(20);
        (self.booted_at, self.booting) = (self.now, 0);
    }

    /// Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn voice(&mut self) -> Voice {
        if let Some(voice) = BOOT.get(self.booting) {
            self.booting += 1;
            return *voice;
        }
        let all: u32 = VOICES.iter().map(|voice| voice.0).sum();
        let mut left = self.random(all.into()) as u32; // below a `u32`
        let mut chosen = VOICES[0];
        for voice in VOICES {
            chosen = voice;
            match left.checked_sub(voice.0) {
                Some(rest) => left = rest,
                None => break,
            }
        }
        chosen
    }
}

impl Iterator for SimLog {
    type Item = SimLogEvent;

    fn next(&mut self) -> Option<SimLogEvent> {
        if self.gap > 0 {
            return Some(SimLogEvent::Gap(std::mem::take(&mut self.gap)));
        }
        let pause = match (self.booting < BOOT.len(), self.burst) {
            (true, _) => 200,
            (false, 0) => 500 + self.random(9_500),
            (false, _) => 0,
        };
        self.burst = self.burst.saturating_sub(u64::from(pause == 0));
        self.now += Duration::from_millis(pause);
        let (_, priority, unit, identifier, pid, line) = self.voice();
        let mut message = String::new();
        for part in line.split_inclusive('#') {
            match part.strip_suffix('#') {
                // "#1" of the kernel's version is no number to fill in
                Some(text) if !text.ends_with("(gcc) ") => message += &format!("{text}{}", 2 + self.random(250)),
                _ => message += part,
            }
        }
        let since_boot = self.now.saturating_sub(self.booted_at);
        let (at, boot) = (self.now, self.boot);
        Some(SimLogEvent::Entry(SimLogEntry { at, since_boot, boot, priority, unit, identifier, pid, message }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(log: &mut SimLog, count: usize) -> Vec<SimLogEntry> {
        let entry = |event| if let SimLogEvent::Entry(entry) = event { entry } else { panic!("a gap") };
        log.take(count).map(entry).collect()
    }

    #[test]
    fn the_same_seed_says_the_same() {
        let said = |seed| entries(&mut SimLog::new(seed), 500);
        assert_eq!(said(7), said(7));
        assert_ne!(said(7), said(8));
        let said = said(7);
        assert!(said.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert!(said.iter().any(|entry| entry.priority <= 3) && said.iter().any(|entry| entry.unit.is_empty()));
    }

    #[test]
    fn the_script_comes_in_its_place() {
        let mut log = SimLog::new(1);
        entries(&mut log, 20);
        log.burst(100);
        let burst = entries(&mut log, 100);
        assert_eq!(burst[0].at, burst[99].at);
        log.gap(12);
        assert_eq!(log.next(), Some(SimLogEvent::Gap(12)));
        log.reboot();
        let first = entries(&mut log, 1).remove(0);
        assert_eq!((first.boot, first.identifier, first.since_boot), (1, "kernel", Duration::from_millis(200)));
    }
}
