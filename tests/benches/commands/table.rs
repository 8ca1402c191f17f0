//! Figures of several sides that took turns.

use std::collections::BTreeMap;
use std::io;

/// Figures by side and round.
pub(crate) struct Table {
    names: Vec<&'static str>,
    rounds: BTreeMap<(&'static str, usize), Vec<f64>>,
}

impl Table {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        Self { names: names.to_vec(), rounds: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, round: usize, name: &'static str, figure: f64) {
        self.rounds.entry((name, round)).or_default().push(figure);
    }

    /// All figures of each side.
    pub(crate) fn figures(&self) -> String {
        let mut text = "| side | n | min | median | p99 | max |\n| --- | ---: | ---: | ---: | ---: | ---: |".to_owned();
        for name in &self.names {
            let mut all: Vec<f64> =
                self.rounds.iter().filter(|((of, _), _)| of == name).flat_map(|(_, figures)| figures.clone()).collect();
            all.sort_by(f64::total_cmp);
            let at = |part: f64| {
                all.get((all.len().saturating_sub(1) as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
            };
            let (n, min, median, p99, max) = (all.len(), at(0.0), at(0.5), at(0.99), at(1.0));
            text += &format!("\n| {name} | {n} | {min:.2} | {median:.2} | {p99:.2} | {max:.2} |");
        }
        text
    }

    /// Median over the rounds of how many times as much one side takes as the other, each by its median of the round.
    pub(crate) fn how_many_times(&self, more: &str, less: &str) -> f64 {
        let of = |name: &str, round: usize| {
            self.rounds
                .iter()
                .find(|((of, at), _)| *of == name && *at == round)
                .map(|(_, figures)| median(figures.clone()))
        };
        let rounds = self.rounds.keys().map(|(_, round)| round + 1).max().unwrap_or(0);
        median((0..rounds).filter_map(|round| Some(of(more, round)? / of(less, round)?)).collect())
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processor time so far of this process and all that descend from it, those that have ended included. The kernel tells it
/// in hundredths of a second for each process.
pub(crate) fn processor_ms() -> io::Result<f64> {
    let mut children: BTreeMap<u32, Vec<(u32, u64)>> = BTreeMap::new();
    let mut ticks = 0;
    let own = std::process::id();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((pid, rest)) = stat.split_once(' ') else { continue };
        let Some((_, rest)) = rest.rsplit_once(')') else { continue };
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (pid, parent) = (pid.parse().unwrap_or(0), u32::try_from(number(1)).unwrap_or(0));
        // utime, stime and the same of children that were waited for
        let used = number(11) + number(12) + number(13) + number(14);
        if pid == own {
            ticks += used;
        }
        children.entry(parent).or_default().push((pid, used));
    }
    let mut open = vec![own];
    while let Some(parent) = open.pop() {
        for (pid, used) in children.remove(&parent).unwrap_or_default() {
            ticks += used;
            open.push(pid);
        }
    }
    Ok(ticks as f64 * 10.0)
}
