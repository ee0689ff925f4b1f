//! A page while it is written. What is not a literal of the program gets in only by [`Page::text`] or as the value of
//! an attribute, and both escape.

use crate::report::text::{is_unseen, n};
use std::fmt::Write;

/// The most characters of a text that are shown. The embedded JSON has all of them.
const SHOWN_CHARS: usize = 400;

/// An attribute: its name, and its value before it is escaped.
pub(super) type Attribute<'a> = (&'static str, &'a str);

/// A page while it is written.
#[derive(Default)]
pub(super) struct Page {
    html: String,
}

impl Page {
    /// Adds markup of the program's own: a literal, so that no data can be in it.
    pub(super) fn markup(&mut self, markup: &'static str) {
        self.html.push_str(markup);
    }

    /// Adds a text, made visible and cut.
    pub(super) fn text(&mut self, text: &str) {
        escape(&mut self.html, &visible(text));
    }

    /// Begins an element.
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[Attribute]) {
        let _ = write!(self.html, "<{tag}");
        for (name, value) in attributes {
            let _ = write!(self.html, " {name}=\"");
            escape(&mut self.html, value);
            self.html.push('"');
        }
        self.html.push('>');
    }

    /// Ends an element. Blocks end their line, so that a person can read the source.
    pub(super) fn close(&mut self, tag: &'static str) {
        let _ = write!(self.html, "</{tag}>");
        if !matches!(tag, "span" | "strong" | "mark" | "code" | "em" | "a" | "td" | "th" | "text" | "title") {
            self.html.push('\n');
        }
    }

    /// An element that holds nothing but a text.
    pub(super) fn element(&mut self, tag: &'static str, attributes: &[Attribute], text: &str) {
        self.open(tag, attributes);
        self.text(text);
        self.close(tag);
    }

    /// A paragraph.
    pub(super) fn sentence(&mut self, text: &str) {
        self.element("p", &[], text);
    }

    /// A statement or another text of several lines, whole.
    pub(super) fn code(&mut self, text: &str) {
        for (at, line) in text.lines().enumerate() {
            if at > 0 {
                self.html.push('\n');
            }
            escape(&mut self.html, line);
        }
    }

    /// A number of the report, which says where it stands in the JSON; but for a place whose name no attribute can hold
    /// or nobody would want to.
    pub(super) fn number(&mut self, tag: &'static str, value: u64, pointer: &str) {
        if pointer.len() > SHOWN_CHARS || pointer.contains(char::is_control) {
            return self.reckoned(tag, value);
        }
        self.element(tag, &[("class", "number"), ("data-path", pointer)], &n(value));
    }

    /// A number that does not say where it comes from: it was reckoned from those of the report.
    pub(super) fn reckoned(&mut self, tag: &'static str, value: u64) {
        self.element(tag, &[("class", "number"), ("data-value", &value.to_string())], &n(value));
    }

    /// Begins a section with its heading. It ends with `close("section")`.
    pub(super) fn section(&mut self, id: &'static str, heading: &'static str) {
        let heading_id = format!("{id}-heading");
        self.open("section", &[("id", id), ("aria-labelledby", &heading_id)]);
        self.element("h2", &[("id", &heading_id)], heading);
    }

    /// Adds JSON as a block of data, which can't end its own element.
    pub(super) fn json(&mut self, id: &'static str, json: &str) {
        self.open("script", &[("type", "application/json"), ("id", id)]);
        // In JSON `<` stands only within strings, where this says the same.
        self.html.push_str(&json.replace('<', "\\u003c"));
        self.close("script");
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.html
    }
}

/// Adds a text to markup. The one place that escapes.
fn escape(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

/// A text as it is shown: what can't be seen by its number, and no more of it than a cell can hold.
fn visible(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARS) {
        if is_unseen(c) {
            let _ = write!(shown, "[U+{:04X}]", c as u32);
        } else {
            shown.push(c);
        }
    }
    // The text may be long: what is left over is counted once.
    let more = text.chars().skip(SHOWN_CHARS).count();
    if more > 0 {
        let _ = write!(shown, " … ({} more characters)", n(more as u64));
    }
    shown
}

/// Whether two texts look the same on the page although they are not.
pub(super) fn look_alike(one: &str, other: &str) -> bool {
    one != other && one.chars().take(SHOWN_CHARS).eq(other.chars().take(SHOWN_CHARS))
}

/// A JSON pointer to what is at these steps.
pub(super) fn pointer(steps: &[&str]) -> String {
    steps.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}
