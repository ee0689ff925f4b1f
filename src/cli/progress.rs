//! Progress on stderr: a bar on a terminal, one line for each step in a pipe.

use crate::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shows steps as they go.
pub(super) struct Shown {
    quiet: bool,
    bar: Option<ProgressBar>,
    step: Mutex<Option<(String, Instant)>>,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Shown {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        Shown {
            quiet,
            bar: terminal.then(|| ProgressBar::no_length().with_finish(indicatif::ProgressFinish::AndClear)),
            step: Mutex::new(None),
        }
    }

    /// Ends the last step.
    pub(super) fn finish(&self) {
        self.end_step();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn end_step(&self) {
        let ended = self.step.lock().ok().and_then(|mut step| step.take());
        if let Some((name, begun)) = ended {
            self.line(&format!("{name}: {:.1} s", begun.elapsed().as_secs_f64()));
        }
    }

    fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                // If stderr is closed nobody wants to know.
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }
}

impl Progress for Shown {
    fn begin(&self, step: &str, total: Option<u64>) {
        self.end_step();
        if let Ok(mut current) = self.step.lock() {
            *current = Some((step.to_string(), Instant::now()));
        }
        if let Some(bar) = &self.bar {
            bar.reset();
            let template = match total {
                Some(total) => {
                    bar.set_length(total);
                    "{msg:32} {bar:30} {human_pos}/{human_len} {per_sec} ETA {eta}"
                }
                None => "{msg:32} {spinner} {human_pos} {per_sec}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(step.to_string());
            bar.enable_steady_tick(Duration::from_millis(120));
        }
    }

    fn advance(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(done);
        }
    }

    fn note(&self, line: &str) {
        self.line(line);
    }
}
