//! The section about keys that were found where none was given.

use super::page::Page;
use super::table::{Cell, Row, folded, table};
use crate::report::{Analysis, LeftOut, SuggestedKey};

/// Keys that were found, the best first.
pub(super) fn suggestion(page: &mut Page, report: &Analysis) {
    let Some(found) = &report.suggestion else { return };
    page.section("suggestion", "Suggested keys");
    page.open("p", &[]);
    page.text("No key was given. There are ");
    page.number("span", found.different_rows, "/suggestion/different_rows");
    page.text(" different rows, volatile columns left aside. This analysis is by the first of the keys below");
    match &found.flags {
        Some(flags) => {
            page.text(", as with ");
            page.element("code", &[], flags);
            page.text(".");
        }
        None => page.text("."),
    }
    page.close("p");
    for column in &found.numbering {
        page.open("p", &[]);
        page.element("code", &[], column);
        page.text(
            " looks as if it numbers copies, and counts as volatile: nearly every row has another value, but without \
             it rows are the same, and the other columns have a key of their own.",
        );
        page.close("p");
    }
    if !found.looks_volatile.is_empty() {
        page.open("p", &[]);
        page.element("code", &[], &found.looks_volatile.join(", "));
        page.text(" may say how rows were collected. If so, give the columns with --volatile.");
        page.close("p");
    }
    let line = |(at, own): (usize, &SuggestedKey)| -> Row {
        let number = |value, name: &str| Cell::Number(value, format!("/suggestion/candidates/{at}/{name}"));
        let cells = [
            Cell::Heading(own.key.join(", ")),
            number(own.rows_kept, "rows_kept"),
            number(own.merged_rows_that_differ, "merged_rows_that_differ"),
            number(own.keys_that_differ, "keys_that_differ"),
            Cell::Text(own.verdict.clone()),
        ];
        (if at == 0 { "given" } else { "" }, cells.into())
    };
    let rows: Vec<Row> = found.candidates.iter().enumerate().map(line).collect();
    let columns = ["key", "rows kept", "merged rows that differ", "keys whose rows differ", "what this says"];
    table(page, "Keys that were found", &columns, &rows);
    if !found.left_out.is_empty() {
        let line =
            |out: &LeftOut| -> Row { ("", vec![Cell::Heading(out.column.clone()), Cell::Text(out.why.clone())]) };
        let rows: Vec<Row> = found.left_out.iter().map(line).collect();
        folded(page, "columns that are in no key", &["column", "why"], &rows);
    }
    page.close("section");
}
