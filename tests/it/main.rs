//! The integration tests: one binary, a module a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dashboard;
mod deploy;
mod promql;
mod tools;
