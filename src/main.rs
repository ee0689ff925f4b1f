//! The command line of tradefold: reads arguments, environment and clock, and nothing else does.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    let environment = std::env::vars().collect();
    tradefold::cli::main(std::env::args_os().collect(), environment, now_us)
}

/// The time now, in microseconds since 1970-01-01 UTC.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
