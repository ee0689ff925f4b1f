//! Progress on stderr: a bar on a terminal; in a pipe one line for each step, and of a long one now and then how far it
//! is.

use crate::progress::{Progress, left};
use crate::window::text_of_length_us;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shows steps as they go.
pub(super) struct Shown {
    quiet: bool,
    bar: Option<ProgressBar>,
    step: Mutex<Option<Step>>,
}

/// What is done now.
struct Step {
    name: String,
    begun: Instant,
    total: Option<u64>,
    done: u64,
    /// When something was said of it last.
    told: Instant,
}

/// How often a pipe is told how far a step is.
const TELL: Duration = Duration::from_secs(10);

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
        if let Some(Step { name, begun, .. }) = ended {
            self.line(&format!("{name}: {:.1} s", begun.elapsed().as_secs_f64()));
        }
    }

    /// How far a step is, where nothing was said of it for a while and nobody sees a bar.
    fn tell(&self, step: &mut Step) -> Option<String> {
        if self.bar.is_some() || step.told.elapsed() < TELL {
            return None;
        }
        step.told = Instant::now();
        let total = step.total?;
        let left = left(step.begun.elapsed(), step.done, total);
        let left = left.map(|left| text_of_length_us(i64::try_from(left.as_micros()).unwrap_or(i64::MAX)));
        let left = left.map_or(String::new(), |left| format!(", about {left} left"));
        Some(format!("{}: {} of {total}{left}", step.name, step.done))
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
            let (name, now) = (step.to_string(), Instant::now());
            *current = Some(Step { name, begun: now, total, done: 0, told: now });
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
        let line = self.step.lock().ok().and_then(|mut step| {
            let step = step.as_mut()?;
            step.done += done;
            self.tell(step)
        });
        if let Some(line) = line {
            self.line(&line);
        }
    }

    fn note(&self, line: &str) {
        self.line(line);
    }
}
