//! The names that people give to lines.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use hal_core::{Board, Label, LineId, header};

use crate::{Agent, Refusal};

/// A line as somebody asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineName<'a> {
    /// By BCM number.
    Number(u32),
    /// By text: an alias (exactly), or regardless of case `17`, `GPIO17`, the header pin `J8:11`, chip and offset
    /// `pinctrl-rp1:17`, or the kernel's name.
    Text(&'a str),
}

impl LineName<'_> {
    /// The line that is meant without knowing a board or its aliases: by number, `17`, `GPIO17` or `J8:11`.
    pub fn well_known(self) -> Option<LineId> {
        match self {
            Self::Number(number) => u16::try_from(number).ok().map(LineId),
            Self::Text(text) => well_known(text),
        }
    }
}

impl fmt::Display for LineName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "GPIO{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl<B: Board> Agent<B> {
    /// The line of this name. Aliases go before numbers and header pins, those before chip and offset, those before the
    /// kernel's names. Whether the line may be used is another question.
    ///
    /// # Errors
    ///
    /// `UnknownLine` with the names that may have been meant. A kernel name that several lines bear is unknown.
    pub fn resolve(&self, name: LineName<'_>) -> Result<LineId, Refusal> {
        let found = match name {
            LineName::Number(_) => name.well_known(),
            LineName::Text(text) => {
                let well_known = self.policy.line_of(text).or_else(|| name.well_known());
                well_known.or_else(|| self.on_chip(text)).or_else(|| self.named_by_kernel(text))
            }
        };
        found.filter(|line| self.exists(*line)).ok_or_else(|| self.unknown(name))
    }

    /// `pinctrl-rp1:17`: the chip by its label, the line by its offset there.
    fn on_chip(&self, text: &str) -> Option<LineId> {
        let (chip, offset) = text.rsplit_once(':')?;
        let ours = chip.eq_ignore_ascii_case(&self.board.chip().label) && reads_like_a_line(offset);
        ours.then(|| offset.parse().ok().map(LineId))?
    }

    fn named_by_kernel(&self, text: &str) -> Option<LineId> {
        let lines = (0..self.board.chip().lines).map(LineId);
        let mut found =
            lines.filter(|line| self.kernel_name(*line).is_some_and(|name| name.eq_ignore_ascii_case(text)));
        let only = found.next()?;
        found.next().is_none().then_some(only)
    }

    fn kernel_name(&self, line: LineId) -> Option<Label> {
        self.board.info(line).ok().map(|info| info.name).filter(|name| !name.is_empty())
    }

    pub(crate) fn unknown(&self, name: LineName<'_>) -> Refusal {
        let asked = name.to_string();
        let lines = || self.policy.allowed().filter(|line| self.exists(*line));
        let numbers: Vec<_> = lines().map(|line| line.to_string()).collect();
        let labels: Vec<_> = lines().filter_map(|line| self.kernel_name(line)).collect();
        let aliases = self.policy.aliases().map(|(alias, _)| alias);
        let known = aliases.chain(numbers.iter().map(|number| &**number)).chain(labels.iter().map(|label| &**label));
        let near = near(&asked, known);
        Refusal::UnknownLine { asked, near }
    }
}

/// Whether a text is meant as the name of a line, of one that exists or not.
pub(crate) fn reads_like_a_line(text: &str) -> bool {
    let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    digits(text) || [strip(text, "GPIO"), strip(text, "J8:")].into_iter().flatten().any(digits)
}

/// The line that a text names by number, or by the header pin that carries it.
pub(crate) fn well_known(text: &str) -> Option<LineId> {
    if !reads_like_a_line(text) {
        return None;
    }
    match strip(text, "J8:") {
        Some(pin) => header::bcm_of_pin(pin.parse().ok()?),
        None => strip(text, "GPIO").unwrap_or(text).parse().ok().map(LineId),
    }
}

/// The rest of a text after a prefix, regardless of case.
fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The known names that somebody may have meant, nearest first: at most three, at most two typing errors away.
pub(crate) fn near<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let measured = known.into_iter().map(|name| (distance(asked, name), name));
    let mut close: Vec<_> = measured.filter(|(distance, _)| *distance <= 2).collect();
    close.sort_unstable();
    close.dedup();
    close.into_iter().take(3).map(|(_, name)| name.to_string()).collect()
}

/// The typing errors between two texts, regardless of case: insertions, deletions and wrong characters (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(!from.eq_ignore_ascii_case(&to));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_pins_are_well_known() {
        for text in ["17", "GPIO17", "gpio17", "J8:11", "j8:11"] {
            assert_eq!(well_known(text), Some(LineId(17)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not() {
        for text in ["", "GPIO", "GPIO-1", "+17", "heater", "J8:", "J8:1", "J8:300", "70000", "GPÍO17", "é"] {
            assert_eq!(well_known(text), None, "{text}");
        }
    }

    #[test]
    fn distance_counts_typing_errors() {
        assert_eq!(distance("heater", "HEATER"), 0);
        assert_eq!(distance("heatr", "heater"), 1);
        assert_eq!(distance("", "pump"), 4);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn near_names_come_nearest_first() {
        assert_eq!(near("heatr", ["pump", "heater", "heater2"]), ["heater", "heater2"]);
        assert!(near("valve", ["pump"]).is_empty());
    }
}
