//! Bad files, and the exact messages that each gets. Where a file has no network, the test adds a
//! good one below.

mod everyone;
mod networks;
mod syntax;
mod tables;

/// The file, and its messages in order.
pub(super) type Bad = (&'static str, &'static [&'static str]);

pub(super) fn all() -> impl Iterator<Item = &'static Bad> {
    [tables::BAD, networks::BAD, everyone::BAD, syntax::BAD].into_iter().flatten()
}
