//! The command line of tradefold: reads arguments, environment and clock, and nothing else does, but for where the
//! operating system keeps temporary files.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    let environment = std::env::vars_os();
    // What is not Unicode is none of our settings.
    let environment =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    tradefold::cli::main(std::env::args_os().collect(), environment, now_us)
}

/// The time now, in microseconds since 1970-01-01 UTC.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
