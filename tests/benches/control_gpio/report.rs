//! The table.

use std::fmt;

use crate::series::Series;

/// What is to be reached.
pub(crate) enum Goal {
    /// At most this many times the floor.
    Ratio(f64),
    /// At least this many times the floor.
    Share(f64),
    /// At most this much, in the row's unit.
    Value(f64),
    /// Nothing: the row explains others.
    None,
}

/// One quantity of all servers.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) agent: Series,
    pub(crate) floor: Series,
    /// The floor once more, as another process: how far its ratio is from 1 is what chance can do.
    pub(crate) control: Option<Series>,
    pub(crate) goal: Goal,
}

/// Its columns, as Markdown.
pub(crate) const HEADING: &str = "\
| what | agent median | p99 | floor median | p99 | ratio | floor : floor | goal | reached? |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, unit) = (self.what, self.unit);
        let ratio = self.agent.ratio(&self.floor);
        write!(f, "| {what}, {unit} |")?;
        for series in [&self.agent, &self.floor] {
            let (median, p99) = (series.quantile(0.5), series.quantile(0.99));
            write!(f, " {} | {} |", Figure(median), Figure(p99))?;
        }
        write!(f, " {ratio:.2} |")?;
        match &self.control {
            Some(control) => write!(f, " {:.2} |", control.ratio(&self.floor))?,
            None => write!(f, " – |")?,
        }
        match self.goal {
            Goal::Ratio(most) => write!(f, " ≤ {most} × | {} |", yes(ratio <= most)),
            Goal::Share(least) => write!(f, " ≥ {least} × | {} |", yes(ratio >= least)),
            Goal::Value(most) => {
                let reached = self.agent.quantile(0.5) <= most;
                write!(f, " ≤ {most} {unit} | {} |", yes(reached))
            }
            Goal::None => write!(f, " – | |"),
        }
    }
}

fn yes(reached: bool) -> &'static str {
    if reached { "yes" } else { "not yet" }
}

/// A number with three significant digits.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0 {
            small if small < 10.0 => 2,
            middle if middle < 100.0 => 1,
            _ => 0,
        };
        write!(f, "{:.digits$}", self.0)
    }
}
