//! Invalid files and their exact messages. For a text without `network`, the test appends a valid
//! network.

mod all;
mod networks;
mod syntax;
mod tables;

/// A file and its messages in order.
pub(super) type Bad = (&'static str, &'static [&'static str]);

pub(super) fn cases() -> impl Iterator<Item = &'static Bad> {
    [tables::BAD, networks::BAD, all::BAD, syntax::BAD].into_iter().flatten()
}
