//! Lists of devices as JSON and CSV.
//!
//! CSV is by RFC 4180. Spreadsheets take a cell that begins like a formula for one, and what stands
//! in these comes from people's devices: such a text gets a `'` in front, which spreadsheets take
//! for "this is text". So does a text that begins with `'`, so that taking one off gives every text
//! back. JSON has the texts as they are.

use std::{
    borrow::Cow,
    io::{self, Write},
    str::FromStr,
};

use super::{Columns, Listing, Record};
use crate::text::is_invisible;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// An object that says what the list is worth, and has the devices in `devices`.
    #[default]
    Json,
    /// A line for each device, below one with the fields' names.
    Csv,
}

impl Format {
    /// The value of the parameter `format`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Csv => "csv",
        }
    }

    /// As HTTP names it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Format, &'static str> {
        let all = [Format::Json, Format::Csv];
        all.into_iter().find(|format| format.as_str() == text).ok_or("must be json or csv")
    }
}

/// Writes a list as JSON, a device on a line.
///
/// # Errors
///
/// The sink's.
pub fn write_json<'a>(
    mut out: impl Write,
    listing: &Listing,
    records: impl Iterator<Item = Record<'a>>,
) -> io::Result<()> {
    let mut head = serde_json::to_vec(listing)?;
    head.pop();
    out.write_all(&head)?;
    out.write_all(b",\"devices\":[")?;
    let mut separator: &[u8] = b"\n";
    for record in records {
        out.write_all(separator)?;
        serde_json::to_writer(&mut out, &record)?;
        separator = b",\n";
    }
    out.write_all(b"\n]}\n")
}

/// Writes a list as CSV.
///
/// # Errors
///
/// The sink's.
pub fn write_csv<'a>(
    out: impl Write,
    columns: Columns,
    records: impl Iterator<Item = Record<'a>>,
) -> io::Result<()> {
    let mut out = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        // A text may hold what a spreadsheet of another country takes for the end of a cell.
        .quote_style(csv::QuoteStyle::NonNumeric)
        .from_writer(out);
    let username = columns.usernames.then_some("username");
    let ids = ["network_id", "network_name", "user_id"];
    let rest = [
        "app_id",
        "device_type",
        "status",
        "suspended",
        "created",
        "last_login",
        "never_logged_in",
        "idle_seconds",
        "sso_max_idle_seconds",
        "sso_expired",
        "freshness",
        "read_at",
    ];
    out.write_record(ids.into_iter().chain(username).chain(rest))?;
    for record in records {
        out.write_field(&*harmless(&record.network_id))?;
        out.write_field(&*harmless(&record.network_name))?;
        out.write_field(&*harmless(&record.user_id))?;
        if columns.usernames {
            let username = record.username.flatten().unwrap_or_default();
            out.write_field(&*harmless(&username))?;
        }
        out.write_field(&*harmless(&record.app_id.unwrap_or_default()))?;
        out.write_field(&*harmless(&record.device_type))?;
        out.write_field(&*harmless(&record.status))?;
        out.write_field(answer(record.suspended))?;
        out.write_field(&*harmless(&record.created.unwrap_or_default()))?;
        out.write_field(&*harmless(&record.last_login.unwrap_or_default()))?;
        out.write_field(answer(record.never_logged_in))?;
        out.write_field(record.idle_seconds.map(|s| s.to_string()).unwrap_or_default())?;
        out.write_field(record.sso_max_idle_seconds.map(|s| s.to_string()).unwrap_or_default())?;
        out.write_field(answer(record.sso_expired))?;
        out.write_field(&*harmless(&record.freshness))?;
        out.write_field(&*harmless(&record.read_at))?;
        out.write_record(None::<&[u8]>)?;
    }
    out.flush()
}

fn answer(yes: Option<bool>) -> &'static str {
    match yes {
        Some(true) => "true",
        Some(false) => "false",
        None => "",
    }
}

/// A text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> Cow<'_, str> {
    // In front of a formula, spreadsheets skip what cannot be seen; some take the full-width forms.
    let unseen = |c: char| c.is_whitespace() || is_invisible(c);
    let formula = |c: char| "=+-@＝＋－＠".contains(c);
    let risky = text.starts_with(|c: char| c.is_control() || c == '\'')
        || text.trim_start_matches(unseen).starts_with(formula);
    if risky { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_like_a_formula_is_text_and_can_be_had_back() {
        for plain in ["", "iOS", "a=b", "1-2", "é", "a'b"] {
            assert_eq!(harmless(plain), plain);
        }
        for risky in [
            "=1+1",
            "+1",
            "-1",
            "@x",
            "\t=1",
            "\rx",
            " =1",
            "\u{a0}=1",
            "＝1",
            "'=1",
            "'",
            "\u{3164}=1",
            "\u{e0041}@x",
            "\u{ad}-1",
        ] {
            assert_eq!(harmless(risky), format!("'{risky}"), "{risky:?}");
            assert_eq!(harmless(risky).strip_prefix('\''), Some(risky));
        }
    }
}
