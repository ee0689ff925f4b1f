//! The page of a proof: what was promised, what was found, and every statement that was asked.

use super::page::{Page, pointer};
use super::table::{Cell, Row, folded, table};
use super::{begin, finish};
use crate::report::{Check, Proof, counted};

/// A proof as a page of HTML, made as that of an analysis is.
pub fn proof_html(proof: &Proof) -> String {
    let mut page = Page::default();
    begin(&mut page, &format!("Proof of the migration {} by tradefold", proof.migration));
    headline(&mut page, proof);
    page.markup("</header>\n<main>\n");
    checks(&mut page, proof);
    sources(&mut page, proof);
    for (at, check) in proof.checks.iter().enumerate().filter(|(_, check)| check.found > 0) {
        finding(&mut page, at, check);
    }
    statements(&mut page, proof);
    page.markup("</main>\n");
    page.open("footer", &[]);
    page.markup("<p>The whole proof is in this page as JSON, in its element <code>report</code>");
    finish(page, proof)
}

fn headline(page: &mut Page, proof: &Proof) {
    page.open("p", &[("class", "headline")]);
    page.text(&format!("{}.", proof.verdict()));
    page.close("p");
    page.sentence(&format!("{}, key ({})", proof.target, proof.key.join(", ")));
}

fn checks(page: &mut Page, proof: &Proof) {
    page.section("checks", "What was looked at");
    let row = |(at, check): (usize, &Check)| -> Row {
        let at = at.to_string();
        let found = Cell::Number(check.found, pointer(&["checks", &at, "found"]));
        let verdict = if check.found == 0 { "holds" } else { "does not hold" };
        let cells = [&check.name, &check.promise, verdict].map(str::to_string);
        let [name, promise, verdict] = cells;
        (
            if check.found == 0 { "" } else { "differs" },
            vec![
                Cell::Heading(name),
                Cell::Text(promise),
                found,
                Cell::Text(verdict),
                Cell::Text(check.counted.clone()),
            ],
        )
    };
    let rows: Vec<Row> = proof.checks.iter().enumerate().map(row).collect();
    table(page, "Every check", &["check", "promise", "exceptions", "verdict", "counted"], &rows);
    page.close("section");
}

fn sources(page: &mut Page, proof: &Proof) {
    page.section("rows", "Rows");
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |name: String, rows_of: u64, path: &[&str]| {
        rows.push(("", vec![Cell::Heading(name), Cell::Number(rows_of, pointer(path))]));
    };
    for (source, rows) in &proof.sources {
        add(format!("read from {source}"), *rows, &["sources", source]);
    }
    if let Some(before) = &proof.before {
        add("in the target before".into(), before.rows, &["before", "rows"]);
        add("version before".into(), before.version, &["before", "version"]);
    }
    if proof.set_aside > 0 {
        add("set aside, and in no table".into(), proof.set_aside, &["set_aside"]);
    }
    add("inserted by the migration".into(), proof.inserted, &["inserted"]);
    add("inserted by others meanwhile".into(), proof.inserted_by_others, &["inserted_by_others"]);
    add("in the target after".into(), proof.after.rows, &["after", "rows"]);
    add("version after".into(), proof.after.version, &["after", "version"]);
    folded(page, "Rows and versions", &["what", "number"], &rows);
    page.close("section");
}

/// Of what days or columns, and some of the keys.
fn finding(page: &mut Page, at: usize, check: &Check) {
    let at = at.to_string();
    page.open("section", &[]);
    page.element("h2", &[], &format!("{}: {}", check.name, counted(check.found, "exception")));
    let of = |(of, rows): (&String, &u64)| -> Row {
        ("", vec![Cell::Heading(of.clone()), Cell::Number(*rows, pointer(&["checks", &at, "by", of]))])
    };
    if !check.by.is_empty() {
        let rows: Vec<Row> = check.by.iter().map(of).collect();
        table(page, &format!("{} by day or column", check.name), &["of", "rows"], &rows);
    }
    for key in &check.examples {
        let parts: Vec<&str> = key.iter().map(|part| part.as_deref().unwrap_or("NULL")).collect();
        page.element("p", &[("class", "value")], &parts.join(", "));
    }
    page.close("section");
}

fn statements(page: &mut Page, proof: &Proof) {
    page.section("statements", "Every statement, for who wants to ask again");
    let statements = proof.checks.iter().flat_map(|check| check.sql.iter().map(move |sql| (check, sql)));
    for (check, sql) in statements {
        page.open("details", &[]);
        page.element("summary", &[], &check.name);
        page.open("pre", &[("class", "scroll"), ("tabindex", "0")]);
        page.code(sql);
        page.close("pre");
        page.close("details");
    }
    page.sentence(&format!(
        "The file beside this page that ends in .sql has them, with {} that make their tables known.",
        counted(proof.set_up.matches(";\n").count() as u64, "statement")
    ));
    page.close("section");
}
