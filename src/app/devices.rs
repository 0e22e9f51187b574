//! `devices`: lists devices from one poll, or from a running exporter (`remote`).

use super::{AppError, PollOutcome, once, remote::Remote};
use crate::{
    clock::Clock,
    config::{CollectorsConfig, Config},
    query::{Columns, Listing, Query, Record, Scope, find, write_csv, write_json, write_table},
    text::escape_invisible,
};

/// Output format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// A table for terminals.
    Table,
    /// CSV, safe for spreadsheets.
    Csv,
    /// JSON, as from the API.
    Json,
}

/// A formatted list of devices.
#[derive(Debug)]
pub struct DeviceReport {
    /// Whether the users of the query were read.
    pub outcome: PollOutcome,
    /// The list in the output format.
    pub text: Vec<u8>,
    /// Messages about its completeness and length.
    pub notes: Vec<String>,
}

/// Polls once and lists the devices that match `query`.
///
/// # Errors
///
/// Setup failed.
pub async fn devices(
    config: &Config,
    clock: Clock,
    query: &Query,
    format: OutputFormat,
) -> Result<DeviceReport, AppError> {
    let networks = &query.filter.networks;
    let selected = |id: &_| networks.is_empty() || networks.contains(id);
    let polled = once::poll(config, &clock, selected, &CollectorsConfig::default()).await?;
    let now = clock.moment();
    let found = find(&polled.snapshot, now, query);
    let listing = Listing::of(&found, now);
    // With a filter, only the users that it matches count, and not the other users of the poll.
    let filtered = !query.filter.users.is_empty() || !query.filter.networks.is_empty();
    let in_scope = outcome(&listing.scope);
    let outcome = if filtered { in_scope } else { in_scope.max(polled.outcome) };
    let columns = Columns { usernames: config.metrics.username };
    let records = found.rows.iter().map(|row| Record::of(row, columns));
    report(outcome, &listing, columns, records, format)
}

/// Lists the devices of a running exporter that match `query`.
///
/// # Errors
///
/// No connection, an error status, or an invalid response.
pub async fn devices_from(
    remote: &Remote,
    query: &Query,
    format: OutputFormat,
) -> Result<DeviceReport, AppError> {
    let list = remote.devices(query).await.map_err(AppError::Setup)?;
    let columns =
        Columns { usernames: list.devices.iter().any(|device| device.username.is_some()) };
    let outcome = outcome(&list.listing.scope);
    report(outcome, &list.listing, columns, list.devices.into_iter(), format)
}

fn outcome(scope: &Scope) -> PollOutcome {
    match scope.users.fresh {
        _ if scope.is_read() && scope.users.stale == 0 => PollOutcome::AllRead,
        0 => PollOutcome::NoneRead,
        _ => PollOutcome::SomeRead,
    }
}

fn report<'a>(
    outcome: PollOutcome,
    listing: &Listing,
    columns: Columns,
    records: impl ExactSizeIterator<Item = Record<'a>>,
    format: OutputFormat,
) -> Result<DeviceReport, AppError> {
    let mut notes = listing.scope.notes();
    let listed = records.len();
    notes.push(match listing.matched {
        1 => "1 device.".into(),
        matched if listed < matched => format!("{matched} devices, {listed} of them listed."),
        matched => format!("{matched} devices."),
    });
    let mut text = Vec::new();
    let written = match format {
        OutputFormat::Table => write_table(&mut text, columns, records),
        OutputFormat::Csv => write_csv(&mut text, columns, records),
        OutputFormat::Json => write_json(&mut text, listing, records),
    };
    written.map_err(AppError::setup)?;
    let notes = notes.iter().map(|note| escape_invisible(note)).collect();
    Ok(DeviceReport { outcome, text, notes })
}
