//! Lists of devices as JSON and CSV.
//!
//! CSV follows RFC 4180. Device texts are untrusted, and a spreadsheet evaluates a cell that starts
//! like a formula, so such a text gets the prefix `'`, which spreadsheets treat as a mark for text.
//! A text that starts with `'` gets it too, so that removing one `'` restores every text.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, Write},
    str::FromStr,
};

use super::{Columns, Listing, Record};
use crate::{named::named_values, text::is_invisible};

named_values! {
    /// An output format: the parameter `format`.
    #[derive(Default)]
    pub enum ListFormat {
        /// An object with the metadata and `devices`.
        #[default]
        Json = "json",
        /// One line per device, after a header.
        Csv = "csv",
    }
}

impl ListFormat {
    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            ListFormat::Json => "application/json",
            ListFormat::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

impl FromStr for ListFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ListFormat, &'static str> {
        ListFormat::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or("must be json or csv")
    }
}

/// Writes a list as JSON, one device per line.
///
/// # Errors
///
/// A write to `out` fails.
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

/// The text of a cell.
type Cell = for<'r> fn(&'r Record<'_>) -> Cow<'r, str>;

const COLUMNS: [(&str, Cell); 16] = [
    ("network_id", |record| escape_formula(&record.network_id)),
    ("network_name", |record| escape_formula(&record.network_name)),
    ("user_id", |record| escape_formula(&record.user_id)),
    ("username", |record| optional(record.username.as_ref().and_then(|name| name.as_deref()))),
    ("app_id", |record| optional(record.app_id.as_deref())),
    ("device_type", |record| escape_formula(&record.device_type)),
    ("status", |record| escape_formula(&record.status)),
    ("suspended", |record| displayed(record.suspended)),
    ("created", |record| optional(record.created.as_deref())),
    ("last_login", |record| optional(record.last_login.as_deref())),
    ("never_logged_in", |record| displayed(record.never_logged_in)),
    ("idle_seconds", |record| displayed(record.idle_seconds)),
    ("sso_max_idle_seconds", |record| displayed(record.sso_max_idle_seconds)),
    ("sso_expired", |record| displayed(record.sso_expired)),
    ("freshness", |record| escape_formula(&record.freshness)),
    ("read_at", |record| escape_formula(&record.read_at)),
];

/// Writes a list as CSV.
///
/// # Errors
///
/// A write to `out` fails.
pub fn write_csv<'a>(
    out: impl Write,
    columns: Columns,
    records: impl Iterator<Item = Record<'a>>,
) -> io::Result<()> {
    let mut out = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        // Some locales use another separator, which a text can contain.
        .quote_style(csv::QuoteStyle::NonNumeric)
        .from_writer(out);
    let shown = COLUMNS.iter().filter(|(name, _)| columns.usernames || *name != "username");
    out.write_record(shown.clone().map(|(name, _)| name))?;
    for record in records {
        for (_, cell) in shown.clone() {
            out.write_field(&*cell(&record))?;
        }
        out.write_record(None::<&[u8]>)?;
    }
    out.flush()
}

fn displayed<T: Display>(value: Option<T>) -> Cow<'static, str> {
    value.map(|value| value.to_string()).unwrap_or_default().into()
}

fn optional(text: Option<&str>) -> Cow<'_, str> {
    escape_formula(text.unwrap_or_default())
}

/// Prefixes a text that a spreadsheet could evaluate.
fn escape_formula(text: &str) -> Cow<'_, str> {
    // Spreadsheets skip invisible characters before a formula. Some accept full-width operators.
    let is_skipped = |c: char| c.is_whitespace() || is_invisible(c);
    let formula = |c: char| "=+-@＝＋－＠".contains(c);
    let risky = text.starts_with(|c: char| c.is_control() || c == '\'')
        || text.trim_start_matches(is_skipped).starts_with(formula);
    if risky { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_formulas_reversibly() {
        for plain in ["", "iOS", "a=b", "1-2", "é", "a'b"] {
            assert_eq!(escape_formula(plain), plain);
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
            assert_eq!(escape_formula(risky), format!("'{risky}"), "{risky:?}");
            assert_eq!(escape_formula(risky).strip_prefix('\''), Some(risky));
        }
    }
}
