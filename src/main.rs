//! The program: arguments in, the library, an exit status out.

use std::process::ExitCode;

use clap::Parser;
use wickr_exporter::{cli::Cli, commands};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let status = runtime.block_on(commands::run(cli));
            // What still runs on other threads, such as a name that is looked up, is not waited for.
            runtime.shutdown_background();
            status
        }
        Err(error) => {
            eprintln!("cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
