//! An analysis as one page that needs nothing beside it: no network, no script, its numbers in charts and in tables,
//! and the whole report as JSON inside.

mod page;
mod proof;
mod table;
mod periods;
mod chart;
mod counts;
mod keys;
mod runs;
mod suggestion;

pub use proof::proof_html;

use super::Analysis;
use page::Page;
use serde::Serialize;

/// A section: its name within the page, what it is called in the list at its top, and what writes it.
type Section = (&'static str, &'static str, fn(&mut Page, &Analysis));

/// The sections that every page has, in their order.
const SECTIONS: [Section; 10] = [
    ("balance", "Balance", counts::balance),
    ("classes", "What they are", counts::by_class),
    ("days", "Over time", counts::by_day),
    ("inputs", "By input", counts::by_input),
    ("sizes", "Rows of a key", keys::sizes),
    ("distances", "Where copies come from", keys::distances),
    ("parts", "Parts of the key", keys::parts),
    ("near", "Nearly the same", keys::near),
    ("groups", "Side by side", keys::groups),
    ("advice", "Other keys", keys::advice),
];

/// The sections of a report: those that were asked for stand before what is like them.
fn sections(report: &Analysis) -> Vec<Section> {
    let mut sections = Vec::new();
    for section in SECTIONS {
        if section.0 == "sizes" && report.by_run.is_some() {
            sections.push(("runs", "By column", runs::by_run as fn(&mut Page, &Analysis)));
        }
        if section.0 == "advice" && report.suggestion.is_some() {
            sections.push(("suggestion", "Suggested keys", suggestion::suggestion));
        }
        sections.push(section);
    }
    sections
}

/// An analysis as a page of HTML; `about` says of which rows. It loads nothing and runs no script, and holds the report
/// as JSON in its element `report`. A number that stands in the report names its JSON pointer in `data-path`; one that
/// was reckoned from others stands without its commas in `data-value`. Long texts are cut with a note, long lists end
/// with a sum of the rest.
pub fn analysis_html(report: &Analysis, about: &str) -> String {
    let mut page = Page::default();
    begin(&mut page, &format!("Duplicates in {about}: an analysis by tradefold"));
    counts::headline(&mut page, report);
    page.markup("<nav aria-label=\"Sections\"><ul>\n");
    let sections = sections(report);
    for (id, name, _) in &sections {
        page.open("li", &[]);
        page.element("a", &[("href", &format!("#{id}"))], name);
        page.close("li");
    }
    page.markup("</ul></nav>\n</header>\n<main>\n");
    for (_, _, write) in sections {
        write(&mut page, report);
    }
    page.markup("</main>\n");
    page.open("footer", &[]);
    page.markup(
        "<p>The whole report is in this page as JSON, in its element <code>report</code>. Bytes of records that \
         waited on disk, where memory was short: ",
    );
    page.number("span", report.spilled_bytes, "/spilled_bytes");
    finish(page, report)
}

/// Begins a page, up to within its header.
fn begin(page: &mut Page, title: &str) {
    page.markup(include_str!("head.html"));
    page.element("title", &[], title);
    page.markup("\n<style>\n");
    page.markup(include_str!("report.css"));
    page.markup("</style>\n</head>\n<body>\n");
    page.markup(include_str!("patterns.html"));
    page.open("header", &[]);
    page.element("h1", &[], title);
}

/// Ends a page within the last sentence of its footer, with the report as JSON.
fn finish(mut page: Page, report: &impl Serialize) -> String {
    page.markup(". Made by tradefold ");
    page.text(env!("CARGO_PKG_VERSION"));
    page.markup(".</p>\n</footer>\n");
    // A report is made of numbers, texts and maps whose keys are texts, of which nothing can fail.
    page.json("report", &serde_json::to_string(report).unwrap_or_default());
    page.markup("</body>\n</html>\n");
    page.finish()
}
