//! The view itself: one frame of text.

use super::figures::{Look, Rates};
use amochats_proto::v1;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};
use std::time::SystemTime;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

pub(super) fn draw(frame: &mut Frame<'_>, server: &str, look: &Look, rates: &Rates) {
    let lines = summary(server, look, rates);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let [above, table, below] =
        Layout::vertical([Constraint::Length(height), Constraint::Min(2), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(lines), above);
    let widths = [
        Constraint::Min(20),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(14),
    ];
    let head = Row::new(["SUBSCRIPTION", "UNSETTLED", "HANDED OUT", "DEAD", "OLDEST"]).style(BOLD);
    let rows = look.subscriptions.iter().map(row);
    frame.render_widget(Table::new(rows, widths).header(head), table);
    frame.render_widget(Paragraph::new("q quits"), below);
}

fn summary(server: &str, look: &Look, rates: &Rates) -> Vec<Line<'static>> {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}/s"));
    let states = look.account_states();
    let accounts: Vec<_> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let outbox: Vec<_> = look.outbox().iter().map(|(state, count)| format!("{count} {state}")).collect();
    let dead: u64 = look.subscriptions.iter().map(|state| state.dead).sum();
    let or_none = |parts: Vec<String>| if parts.is_empty() { "-".to_owned() } else { parts.join(", ") };
    let mut lines = vec![
        Line::styled(format!("amochats  {server}"), BOLD),
        Line::raw(format!("webhooks  {} kept, {} refused", rate(rates.kept), rate(rates.refused))),
        Line::raw(format!("answered  p50 {}, p99 {}", time(rates.median), time(rates.p99))),
        Line::raw(format!("outbox    {}", or_none(outbox))),
        Line::raw(format!("accounts  {}", or_none(accounts))),
        Line::raw(format!("dead      {dead}")),
    ];
    lines.extend(look.trouble.clone().map(|trouble| Line::styled(trouble, BOLD)));
    lines.push(Line::raw(""));
    lines
}

/// The upper bound of a time.
fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) if seconds.is_infinite() => "over 5 s".into(),
        Some(seconds) if seconds < 1.0 => format!("\u{2264} {} ms", seconds * 1000.0),
        Some(seconds) => format!("\u{2264} {seconds} s"),
    }
}

fn row(state: &v1::Subscription) -> Row<'static> {
    let oldest = state.oldest_unsettled_at.and_then(|at| SystemTime::try_from(at).ok());
    let age = oldest.map(|at| at.elapsed().unwrap_or_default().as_secs());
    let age = age.map_or_else(
        || "-".into(),
        |seconds| match seconds {
            0..120 => format!("{seconds} s"),
            120..7200 => format!("{} min", seconds / 60),
            7200..172_800 => format!("{} h", seconds / 3600),
            _ => format!("{} d", seconds / 86_400),
        },
    );
    Row::new([
        state.name.clone(),
        state.unsettled.to_string(),
        state.outstanding.to_string(),
        state.dead.to_string(),
        age,
    ])
}

/// What a terminal would show, as text.
pub(super) fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width).max(1));
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned()
    };
    rows.map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
