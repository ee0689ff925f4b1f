//! A status as a collector of metrics reads it: the text exposition format of Prometheus.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use super::{FeedReport, StatusReport};
use std::fmt::Write;

/// The labels of a sample beside the table's, each a name and a value, and what was measured.
type Sample = (Vec<(&'static str, String)>, String);

/// A status as metrics, all of them gauges with a label `table`. What is not known has no sample, and a metric without
/// samples is left out.
pub fn exposition(report: &StatusReport) -> String {
    let mut text = String::new();
    let mut add =
        |name: &str, help: &str, samples: Vec<Sample>| family(&mut text, &report.target, name, help, &samples);
    let one = |value: u64| vec![(Vec::new(), value.to_string())];
    let time = |at_us: Option<i64>| at_us.into_iter().map(|at_us| (Vec::new(), seconds(at_us))).collect();
    let of_feeds = |value: &dyn Fn(&FeedReport) -> String| {
        let sample = |feed: &FeedReport| (vec![("feed", feed.state.feed.clone())], value(feed));
        report.feeds.iter().map(sample).collect::<Vec<Sample>>()
    };
    let waiting = || report.parts.iter().filter(|part| part.is_here);
    add("rows", "Rows that the table has.", one(report.rows));
    let days = report.rows_by_day.iter().flatten();
    let days = days.map(|(day, rows)| (vec![("day", day.to_string())], rows.to_string()));
    add("rows_of_day", "Rows of a UTC day of event time.", days.collect());
    add("unfinished_runs", "Runs that neither finished nor stopped.", one(report.unfinished.len() as u64));
    let checkpoint = of_feeds(&|feed| seconds(feed.state.checkpoint_us));
    add("checkpoint_seconds", "Up to where everything was seen, since 1970-01-01 UTC.", checkpoint);
    let lag = of_feeds(&|feed| seconds(feed.lag_us));
    add("lag_seconds", "How far the checkpoint was behind when this was written.", lag);
    let seen = of_feeds(&|feed| seconds(feed.seen_us));
    add("seen_seconds", "How much event time was seen whole.", seen);
    add("gaps", "Windows that are missing.", of_feeds(&|feed| feed.state.gaps.len().to_string()));
    let accepted = of_feeds(&|feed| seconds(feed.state.accepted.length_us()));
    add("accepted_seconds", "How much event time was passed for good.", accepted);
    add("parts_waiting", "Parts that are landed and wait for a run.", one(waiting().count() as u64));
    add("rows_waiting", "Rows of these parts.", one(waiting().map(|part| part.rows).sum()));
    let gone = report.parts.iter().filter(|part| !part.is_here).count();
    add("parts_gone", "Parts that waited and whose files are not here.", one(gone as u64));
    add("wanted", "Rows of another table that are wanted and were not asked for yet.", one(report.wanted));
    add("left", "Rows of another table that were asked for and are not there.", one(report.left.len() as u64));
    let last = &report.last;
    add("last_fetched_seconds", "When new or wanted rows were fetched last.", time(last.fetched_us));
    add("last_rechecked_seconds", "When known windows were fetched once more.", time(last.rechecked_us));
    add("last_refreshed_seconds", "When rows that may have changed were fetched.", time(last.refreshed_us));
    add("last_finished_seconds", "When a run was finished last.", time(last.finished_us));
    add("status_seconds", "When this was written.", time(Some(report.at_us)));
    text
}

fn family(text: &mut String, table: &str, name: &str, help: &str, samples: &[Sample]) {
    if samples.is_empty() {
        return;
    }
    let _ = writeln!(text, "# HELP tradefold_{name} {help}\n# TYPE tradefold_{name} gauge");
    for (labels, value) in samples {
        let labels = labels.iter().map(|(name, value)| format!(",{name}=\"{}\"", escaped(value)));
        let labels = labels.collect::<String>();
        let _ = writeln!(text, "tradefold_{name}{{table=\"{}\"{labels}}} {value}", escaped(table));
    }
}

/// The value of a label between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Microseconds as seconds, without a fraction where there is none.
fn seconds(us: i64) -> String {
    (us as f64 / 1e6).to_string()
}
