//! The section that counts rows by the values of a column.

use super::chart::{Bar, Piece, legend, lying};
use super::counts::pieces;
use super::page::Page;
use super::table::{Cell, Row, folded};
use crate::report::text::{n, share, value};
use crate::report::{Analysis, RunRows, counted};

/// Of the values those with the most rows are shown.
const VALUES_SHOWN: usize = 50;

/// Rows by the values of the column that was asked for.
pub(super) fn by_run(page: &mut Page, report: &Analysis) {
    let Some(runs) = &report.by_run else { return };
    page.section("runs", "By the values of a column");
    page.open("p", &[]);
    page.text("Rows by ");
    page.element("code", &[], &runs.column);
    page.text(if runs.by_day { ", by its UTC day. It has " } else { ". It has " });
    page.number("span", runs.values, "/by_run/values");
    page.text(match (runs.by_day, runs.values) {
        (true, 1) => " day.",
        (true, _) => " different days.",
        (false, 1) => " value.",
        (false, _) => " different values.",
    });
    page.close("p");
    if runs.told.is_empty() {
        page.sentence("There are no rows.");
        page.close("section");
        return;
    }
    let (shown, more) = runs.told.split_at(runs.told.len().min(VALUES_SHOWN));
    let others = runs.others.and(more.iter().map(|run| (run.rows, run.losers)));
    if runs.others.values > 0 {
        page.open("p", &[]);
        page.text("Of ");
        page.number("span", runs.others.values, "/by_run/others/values");
        page.text(" of them, which have fewer rows, only the sum was told.");
        page.close("p");
    }
    if others.values > 0 {
        let shown = n(shown.len() as u64);
        page.sentence(&format!("The {shown} with the most rows are shown. The last line has the others."));
    }
    let bars: Vec<Bar> = shown
        .iter()
        .map(|run| Bar {
            label: value(run.value.as_deref()).to_string(),
            pieces: pieces(run.rows, run.losers),
            figure: share(run.losers.total(), run.rows),
        })
        .collect();
    legend(page, &Piece::ROWS, false);
    lying(page, "runs-chart", "Rows by the values of a column, with the share of duplicates", &bars);
    let line = |(at, run): (usize, &RunRows)| -> Row {
        let number = |number, name: &str| Cell::Number(number, format!("/by_run/told/{at}/{name}"));
        let cells = [
            Cell::Heading(value(run.value.as_deref()).to_string()),
            number(run.rows, "rows"),
            number(run.losers.exact, "losers/exact"),
            number(run.losers.superseded, "losers/superseded"),
            number(run.losers.conflict, "losers/conflict"),
            Cell::Share(run.losers.total(), run.rows),
        ];
        ("", cells.into())
    };
    let mut rows: Vec<Row> = shown.iter().enumerate().map(line).collect();
    if others.values > 0 {
        let number = |number, name: &str| match more.is_empty() {
            true => Cell::Number(number, format!("/by_run/others/{name}")),
            false => Cell::Reckoned(number),
        };
        let cells = [
            Cell::Heading(counted(others.values, "other value")),
            number(others.rows, "rows"),
            number(others.losers.exact, "losers/exact"),
            number(others.losers.superseded, "losers/superseded"),
            number(others.losers.conflict, "losers/conflict"),
            Cell::Share(others.losers.total(), others.rows),
        ];
        rows.push(("total", cells.into()));
    }
    let columns = ["value", "rows", "exact", "superseded", "conflict", "share of duplicates"];
    folded(page, "rows by the values of a column", &columns, &rows);
    page.close("section");
}
