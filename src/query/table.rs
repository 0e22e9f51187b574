//! Lists of devices as a table for a terminal.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};

use super::{Columns, Record};
use crate::text::escape_invisible;

/// Writes a list as a table.
///
/// # Errors
///
/// A write to `out` fails.
pub fn write_table<'a>(
    mut out: impl Write,
    columns: Columns,
    records: impl Iterator<Item = Record<'a>>,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let username = columns.usernames.then_some("USERNAME");
    let ids = ["IDLE", "LAST LOGIN", "NETWORK", "USER"];
    let rest = ["TYPE", "STATUS", "SUSPENDED", "SSO", "DATA", "APP ID"];
    table.set_header(ids.into_iter().chain(username).chain(rest));
    let mut rows = 0;
    for record in records {
        rows += 1;
        let mut row = vec![
            Cell::new(idle(&record)).set_alignment(CellAlignment::Right),
            Cell::new(shown(record.last_login.as_deref().map_or("", to_the_minute))),
            Cell::new(shown(&record.network_id)),
            Cell::new(shown(&record.user_id)),
        ];
        if columns.usernames {
            row.push(Cell::new(shown(&record.username.flatten().unwrap_or_default())));
        }
        row.extend([
            Cell::new(shown(&record.device_type)),
            Cell::new(shown(&record.status)),
            Cell::new(boolean(record.suspended, "yes", "no")),
            Cell::new(boolean(record.sso_expired, "expired", "-")),
            Cell::new(shown(&record.freshness)),
            Cell::new(shown(&record.app_id.unwrap_or_default())),
        ]);
        table.add_row(row);
    }
    if rows > 0 {
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    out.flush()
}

fn idle(record: &Record<'_>) -> String {
    match record.idle_seconds {
        Some(seconds) if seconds >= 86_400.0 => format!("{:.0}d", (seconds / 86_400.0).floor()),
        Some(seconds) if seconds >= 3600.0 => format!("{:.0}h", (seconds / 3600.0).floor()),
        Some(seconds) => format!("{:.0}m", (seconds / 60.0).floor()),
        None if record.never_logged_in == Some(true) => "never".into(),
        None => "?".into(),
    }
}

/// Removes the seconds from an RFC 3339 time.
fn to_the_minute(iso: &str) -> &str {
    iso.get(..16).unwrap_or(iso)
}

fn boolean(value: Option<bool>, if_true: &'static str, if_false: &'static str) -> &'static str {
    match value {
        Some(true) => if_true,
        Some(false) => if_false,
        None => "?",
    }
}

fn shown(text: &str) -> String {
    if text.is_empty() { "-".into() } else { escape_invisible(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_terminal_sequences() {
        assert_eq!(shown("\u{1b}[2J\u{202e}x\ny"), "\\u{1b}[2J\\u{202e}x\\u{a}y");
        assert_eq!((shown("").as_str(), shown("é漢").as_str()), ("-", "é漢"));
    }
}
