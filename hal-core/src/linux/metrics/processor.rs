//! `/proc/stat` and `/proc/uptime`.
//!
//! Not by the crate procfs: it drops the numbers of the cores, and the cores that are on may have gaps.

use std::path::Path;
use std::string::String;

use procfs::{FromRead, Uptime};

use super::kept::{Buffer, Kept};
use super::{Tell, failed};
use crate::{CpuTime, Groups, Reading};

#[derive(Debug)]
pub(super) struct Processor {
    stat: Kept,
    uptime: Kept,
    tick_us: u64,
}

impl Processor {
    pub(super) fn new(root: &Path) -> Self {
        let proc = root.join("proc");
        let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
        Self { stat: Kept::new(proc.join("stat")), uptime: Kept::new(proc.join("uptime")), tick_us }
    }

    pub(super) fn sample(&mut self, groups: Groups, buffer: &mut Buffer, tell: Tell<'_>) {
        if !groups.has(Groups::CPU) {
            return;
        }
        let read = self.stat.read(buffer).map_err(|error| self.stat.told(&error));
        match read {
            Ok(stat) => tell_times(stat, self.tick_us, tell),
            Err(why) => failed(tell, Groups::CPU, "cpu", &why),
        }
        let uptime = self.uptime.read(buffer).map_err(|error| self.uptime.told(&error));
        match uptime.and_then(|text| Uptime::from_read(text.as_bytes()).map_err(|error| std::format!("{error}"))) {
            Ok(uptime) => tell(Reading::Uptime(uptime.uptime_duration())),
            Err(why) => failed(tell, Groups::CPU, "uptime", &why),
        }
    }
}

fn tell_times(stat: &str, tick_us: u64, tell: Tell<'_>) {
    let mut whole = false;
    for line in stat.lines() {
        let Some((name, times)) = line.strip_prefix("cpu").and_then(|line| line.split_once(' ')) else { continue };
        match (name, cpu_time(times, tick_us)) {
            ("", Some(time)) => {
                tell(Reading::Cpu(time));
                whole = true;
            }
            (number, Some(time)) => {
                if let Ok(number) = number.parse() {
                    tell(Reading::Core(number, time));
                }
            }
            (_, None) => {}
        }
    }
    if !whole {
        failed(tell, Groups::CPU, "cpu", &String::from("/proc/stat has no line for all cores"));
    }
}

/// The fields of a line after its name (proc_stat(5)): four since ever, the others came with time; what comes after
/// them is not ours. Guest time is part of user time already.
fn cpu_time(fields: &str, tick_us: u64) -> Option<CpuTime> {
    let mut fields = fields.split_ascii_whitespace().map(|field| {
        let ticks: u64 = field.parse().ok()?;
        Some(ticks.saturating_mul(tick_us))
    });
    let mut next = || fields.next().flatten();
    let (user_us, nice_us, system_us, idle_us) = (next()?, next()?, next()?, next()?);
    let (iowait_us, irq_us, softirq_us, steal_us) = (next(), next(), next(), next());
    Some(CpuTime { user_us, nice_us, system_us, idle_us, iowait_us, irq_us, softirq_us, steal_us })
}

/// `/proc/stat`'s other numbers: processes started, running, blocked.
pub(super) fn processes(stat: &str) -> (Option<u64>, Option<u32>, Option<u32>) {
    let value = |key: &str| stat.lines().rev().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let small = |key| value(key)?.parse().ok();
    (value("processes ").and_then(|text| text.parse().ok()), small("procs_running "), small("procs_blocked "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn told(stat: &str) -> Vec<(Option<u16>, CpuTime)> {
        let mut told = Vec::new();
        tell_times(stat, 10_000, &mut |reading| match reading {
            Reading::Cpu(time) => told.push((None, time)),
            Reading::Core(core, time) => told.push((Some(core), time)),
            _ => {}
        });
        told
    }

    #[test]
    fn a_core_that_is_off_leaves_a_gap() {
        let told = told("cpu  4 0 2 8 1 1 1 0 0 0\ncpu0 2 0 1 4 1 1 1 0 0 0\ncpu2 2 0 1 4 0 0 0 0 0 0\nintr 1 2\n");
        let cores: Vec<_> = told.iter().map(|(core, _)| *core).collect();
        assert_eq!(cores, [None, Some(0), Some(2)]);
        assert_eq!((told[0].1.user_us, told[0].1.steal_us), (40_000, Some(0)));
    }

    #[test]
    fn old_kernels_have_four_fields_and_new_ones_more_than_we_know() {
        assert_eq!(cpu_time("1 2 3 4", 1).unwrap().iowait_us, None);
        assert_eq!(cpu_time("1 2 3 4 5 6 7 8 9 10 11", 1).unwrap().steal_us, Some(8));
        assert_eq!(cpu_time("1 2 3", 1), None);
    }

    #[test]
    fn processes_are_counted_where_the_kernel_counts() {
        assert_eq!(processes("processes 99\nprocs_running 2\nprocs_blocked 0\n"), (Some(99), Some(2), Some(0)));
        assert_eq!(processes("cpu 1 2 3 4\n"), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", lines in "(cpu[0-9]{0,6} [0-9 ]{0,60}\n){0,4}") {
            told(&text);
            told(&lines);
            processes(&text);
        }

        #[test]
        fn what_is_written_is_read(fields in proptest::collection::vec(0_u64..1 << 40, 8)) {
            let line = fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let time = cpu_time(&line, 1).unwrap();
            let read = [time.user_us, time.nice_us, time.system_us, time.idle_us];
            prop_assert_eq!(&read[..], &fields[..4]);
            prop_assert_eq!(time.steal_us, Some(fields[7]));
        }
    }
}
