//! Parses arguments, runs the command and returns its exit status.

use std::process::ExitCode;

use clap::Parser;
use wickr_exporter::{cli::Cli, commands};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One worker: work that takes long runs on blocking threads, or in `block_in_place`. Several workers
    // would wake each other for each response, and each would have its own arena of the allocator.
    match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => {
            // In a task: this thread, which is not a worker, would have to be woken for each response.
            let task = runtime.spawn(commands::run(cli));
            // It fails only after a panic, which is logged.
            let status = runtime.block_on(task).unwrap_or(ExitCode::FAILURE);
            // Does not wait for blocking tasks such as DNS lookups.
            runtime.shutdown_background();
            status
        }
        Err(error) => {
            eprintln!("cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
