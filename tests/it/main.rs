//! The integration tests: one binary, so that they link once. The real program runs against the
//! simulator, and other people's programs judge what it says.
//!
//! - `harness`: starts the program, scrapes it, waits for what should come true
//! - `truth`: what is exposed while things go wrong
//! - `client`: requests, pages, retries, credentials, clocks, as the simulator sees them
//! - `peers`: boto3 reads the same fleet; promtool and Python's parsers read the expositions
//! - `http`: routes, formats, compression, shutdown
//! - `cli`: commands, exit statuses, messages

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Nothing leaves this binary, so what modules share is plain `pub`.
#![allow(unreachable_pub)]

mod client;
mod harness;
mod http;
mod truth;
