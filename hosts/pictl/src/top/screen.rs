//! How the fleet is drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row as Shown, Table};

use super::fleet::{Fleet, Row, Sort};
use crate::output::inert;

const WIDTHS: [Constraint; 8] = [
    Constraint::Min(10),
    Constraint::Length(7),
    Constraint::Length(24),
    Constraint::Length(7),
    Constraint::Length(7),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Min(12),
];

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn draw(frame: &mut Frame<'_>, fleet: &Fleet) {
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    let rows = fleet.rows();
    frame.render_widget(title(&rows, fleet), top);
    let header = ["NODE", "CPU", "", "MEMORY", "DISK", "TEMP", "UP", "THROTTLING"];
    let header = Shown::new(header).style(Style::new().add_modifier(Modifier::BOLD));
    let shown = rows.iter().skip(fleet.above).map(|row| shown(row));
    frame.render_widget(Table::new(shown, WIDTHS).header(header), middle);
    let keys = "q quit   sort by: n name  c processor  m memory  t temperature   ↑ ↓ scroll";
    frame.render_widget(Line::from(keys).dim(), bottom);
}

fn title(rows: &[&Row], fleet: &Fleet) -> Line<'static> {
    if let Some(why) = &fleet.failure {
        return Line::from(inert(why)).red();
    }
    let silent = rows.iter().filter(|row| row.latest.is_err()).count();
    let by = match fleet.sort {
        Sort::Name => "name",
        Sort::Cpu => "processor",
        Sort::Memory => "memory",
        Sort::Temperature => "temperature",
    };
    Line::from(format!("{} nodes, {silent} without an answer, by {by}", rows.len()))
}

fn shown(row: &Row) -> Shown<'static> {
    let [node, cpu, memory, disk, temperature, up, throttling] = row.cells();
    let cells = [node, cpu, sparkline(row), memory, disk, temperature, up, throttling].map(Cell::from);
    let style = if row.is_bad() { Style::new().red() } else { Style::new() };
    Shown::new(cells).style(style)
}

/// One letter a reading, a space where there was none.
fn sparkline(row: &Row) -> String {
    let level = |percent: u64| LEVELS[(percent.min(100) as usize * (LEVELS.len() - 1)).div_ceil(100)];
    row.history.iter().map(|percent| percent.map_or(' ', level)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::agent::v1::{SystemMetrics, Throttling};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use tonic::Status;

    fn metrics(cpu: f64, temperature: Option<f64>, throttling: Throttling) -> SystemMetrics {
        SystemMetrics {
            cpu_usage: Some(cpu),
            memory_usage: Some(37.5),
            disk_usage: Some(25.0),
            temperature,
            uptime: Some(prost_types::Duration { seconds: 90_061, nanos: 0 }),
            throttling: Some(throttling),
            ..SystemMetrics::default()
        }
    }

    fn fleet(sort: Sort) -> Fleet {
        let mut fleet = Fleet::new(sort);
        let low = Throttling { under_voltage_now: true, throttled_since_boot: true, ..Throttling::default() };
        for cpu in [0.0, 50.0, 100.0] {
            fleet.take(vec![
                ("pi-1".to_owned(), Ok(metrics(cpu, Some(47.2), Throttling::default()))),
                ("pi-2".to_owned(), Err(Status::unavailable("no route"))),
                ("pi-3".to_owned(), Ok(metrics(15.2, Some(81.0), low))),
                ("pi-\u{1b}[4".to_owned(), Ok(metrics(99.0, None, Throttling::default()))),
            ]);
        }
        fleet
    }

    fn drawn(fleet: &Fleet) -> String {
        let mut terminal = Terminal::new(TestBackend::new(110, 8)).unwrap();
        terminal.draw(|frame| draw(frame, fleet)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_fleet_by_name() {
        insta::assert_snapshot!(drawn(&fleet(Sort::Name)));
    }

    #[test]
    fn the_fleet_by_temperature() {
        insta::assert_snapshot!(drawn(&fleet(Sort::Temperature)));
    }

    #[test]
    fn a_fleet_that_cannot_be_seen_says_why_and_keeps_what_was_seen() {
        let mut fleet = fleet(Sort::Cpu);
        fleet.failed("the controller cannot be reached".to_owned());
        fleet.scroll(1);
        insta::assert_snapshot!(drawn(&fleet));
        fleet.scroll(100);
        fleet.scroll(-100);
        assert_eq!(fleet.above, 0);
    }

    #[test]
    fn hundreds_of_nodes_fit() {
        let mut fleet = Fleet::new(Sort::Cpu);
        let each =
            |number: u32| (format!("pi-{number}"), Ok(metrics(f64::from(number) / 10.0, None, Throttling::default())));
        fleet.take((0..900).map(each).collect());
        let drawn = drawn(&fleet);
        assert!(drawn.contains("900 nodes") && drawn.contains("pi-899") && !drawn.contains("pi-1 "), "{drawn}");
    }
}
