//! The devices behind a figure, for the command line: from one poll, or from an exporter that runs
//! (`remote`).

use std::io;

use super::{AppError, Outcome, once, remote::Remote};
use crate::{
    clock::Clock,
    config::Config,
    query::{
        Columns, Listing, Query, Record, Scope, escape_invisible, find, write_csv, write_json,
        write_table,
    },
};

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Print {
    /// For people.
    Table,
    /// For spreadsheets.
    Csv,
    /// For tools.
    Json,
}

/// A list of devices, ready to print.
#[derive(Debug)]
pub struct Devices {
    /// How it went.
    pub outcome: Outcome,
    /// The list.
    pub text: Vec<u8>,
    /// How many there are, and what must be known of them, in words.
    pub notes: Vec<String>,
}

/// Polls once, and lists the devices that `query` asks for.
///
/// # Errors
///
/// When it cannot be set up.
pub async fn devices(
    config: &Config,
    clock: Clock,
    query: &Query,
    print: Print,
) -> Result<Devices, AppError> {
    let networks = &query.filter.networks;
    let wanted = |id: &_| networks.is_empty() || networks.contains(id);
    let polled = once::poll(config, &clock, wanted).await?;
    let now = clock.now();
    let found = find(&polled.snapshot, now, query);
    let listing = Listing::of(&found, now);
    // The poll's result is about all users; whoever asks for some wants to know of those. What
    // cannot be looked up, of whom or which there may be more, the scope has too.
    let some = !query.filter.users.is_empty() || !query.filter.networks.is_empty();
    let of_scope = outcome(&listing.scope);
    let outcome = if some { of_scope } else { of_scope.max(polled.outcome) };
    let columns = Columns { usernames: config.metrics.username };
    let records = found.rows.iter().map(|row| Record::of(row, columns));
    written(outcome, &listing, columns, records, print)
}

/// Lists the devices that `query` asks for, as an exporter that runs knows them.
///
/// # Errors
///
/// When it cannot be reached, refuses, or answers with something else.
pub async fn devices_from(
    remote: &Remote,
    query: &Query,
    print: Print,
) -> Result<Devices, AppError> {
    let list = remote.devices(query).await.map_err(AppError::Setup)?;
    let columns =
        Columns { usernames: list.devices.iter().any(|device| device.username.is_some()) };
    let outcome = outcome(&list.listing.scope);
    written(outcome, &list.listing, columns, list.devices.into_iter(), print)
}

/// How it went with those that were asked for.
fn outcome(scope: &Scope) -> Outcome {
    match scope.users.fresh {
        _ if scope.is_read() && scope.users.stale == 0 => Outcome::AllRead,
        0 => Outcome::NoneRead,
        _ => Outcome::SomeRead,
    }
}

fn written<'a>(
    outcome: Outcome,
    listing: &Listing,
    columns: Columns,
    records: impl ExactSizeIterator<Item = Record<'a>>,
    print: Print,
) -> Result<Devices, AppError> {
    let mut notes = listing.scope.notes();
    let listed = records.len();
    notes.push(match listing.matched {
        1 => "1 device.".into(),
        matched if listed < matched => format!("{matched} devices, {listed} of them listed."),
        matched => format!("{matched} devices."),
    });
    let mut text = Vec::new();
    let done: io::Result<()> = match print {
        Print::Table => write_table(&mut text, columns, records),
        Print::Csv => write_csv(&mut text, columns, records),
        Print::Json => write_json(&mut text, listing, records),
    };
    done.map_err(|error| AppError::Setup(error.to_string()))?;
    let notes = notes.iter().map(|note| escape_invisible(note)).collect();
    Ok(Devices { outcome, text, notes })
}
