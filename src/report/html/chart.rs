//! Charts as inline SVG. Places across are in percent and texts in pixels, so a chart fits a phone and its texts stay
//! as large as the page's. What a colour says a pattern says as well.

use super::page::Page;
use crate::report::counted;

/// How high the bars of an upright chart can be, in pixels.
const PLOT_PX: f64 = 176.0;
/// How high a lying bar is with its label, in pixels.
const LINE_PX: usize = 36;
/// The shortest bar, in percent of the longest: little is not nothing.
const SHORTEST_PERCENT: f64 = 0.4;
/// How wide a label may be beside its number on a phone, in characters.
const LABEL_CHARS: usize = 34;

/// What a piece of a bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Rows that won.
    Winners,
    /// Losers that are equal to their winner.
    Exact,
    /// Losers that are lower.
    Superseded,
    /// Losers that tie and differ.
    Conflicts,
    /// Anything else.
    Other,
}

impl Piece {
    /// Those that the rows of an input are.
    pub(super) const ROWS: [Piece; 4] = [Piece::Winners, Piece::Exact, Piece::Superseded, Piece::Conflicts];

    fn class(self) -> &'static str {
        match self {
            Piece::Winners => "piece winners",
            Piece::Exact => "piece exact",
            Piece::Superseded => "piece superseded",
            Piece::Conflicts => "piece conflicts",
            Piece::Other => "piece other",
        }
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Piece::Winners => "winners",
            Piece::Exact => "exact duplicates",
            Piece::Superseded => "superseded",
            Piece::Conflicts => "conflicts",
            Piece::Other => "other",
        }
    }
}

/// A bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// What it stands for.
    pub(super) label: String,
    /// Its pieces, from its foot on.
    pub(super) pieces: Vec<(Piece, u64)>,
    /// What is said of it beside its label.
    pub(super) figure: String,
}

impl Bar {
    fn total(&self) -> u64 {
        self.pieces.iter().map(|(_, value)| value).sum()
    }

    fn conflicts(&self) -> u64 {
        self.pieces.iter().filter(|(piece, _)| *piece == Piece::Conflicts).map(|(_, value)| value).sum()
    }

    /// What a pointer that rests on it is told.
    fn told(&self) -> String {
        let pieces = self.pieces.iter().filter(|(piece, value)| *value > 0 && *piece != Piece::Other);
        let pieces: Vec<String> = pieces.map(|(piece, value)| counted_as(*value, *piece)).collect();
        let whole = if pieces.is_empty() { self.figure.clone() } else { counted(self.total(), "row") };
        format!("{}: {whole}{}{}", self.label, if pieces.is_empty() { "" } else { "; " }, pieces.join(", "))
    }
}

fn counted_as(value: u64, piece: Piece) -> String {
    format!("{} {}", crate::report::text::n(value), piece.name())
}

/// Says which pattern stands for what.
pub(super) fn legend(page: &mut Page, pieces: &[Piece], is_marked: bool) {
    page.open("ul", &[("class", "legend")]);
    for piece in pieces {
        page.open("li", &[]);
        page.open("svg", &[("class", "swatch"), ("aria-hidden", "true")]);
        page.open("rect", &[("class", piece.class()), ("width", "100%"), ("height", "100%")]);
        page.close("rect");
        page.close("svg");
        page.text(piece.name());
        page.close("li");
    }
    if is_marked {
        page.markup(
            "<li><svg class=\"swatch\" aria-hidden=\"true\"><circle class=\"spot\" cx=\"50%\" cy=\"50%\" r=\"3\">",
        );
        page.markup("</circle></svg>has conflicts</li>\n");
    }
    page.close("ul");
}

/// Begins a chart of a height in pixels, with its title.
fn begin(page: &mut Page, id: &str, title: &str, height_px: f64) {
    let title_id = format!("{id}-title");
    let height = height_px.to_string();
    let attributes = [("class", "chart"), ("role", "img"), ("aria-labelledby", &title_id), ("height", &height)];
    page.open("svg", &attributes);
    page.element("title", &[("id", &title_id)], title);
}

fn percent(value: f64) -> String {
    format!("{value:.3}%")
}

fn rect(page: &mut Page, class: &str, [x, y, width, height]: [&str; 4]) {
    page.open("rect", &[("class", class), ("x", x), ("y", y), ("width", width), ("height", height)]);
    page.close("rect");
}

/// Bars that stand beside each other, with a scale at their left and a spot under each that has conflicts.
pub(super) fn upright(page: &mut Page, id: &str, title: &str, bars: &[Bar]) {
    let (step, steps) = scale(bars.iter().map(Bar::total).max().unwrap_or(0));
    let top = step.saturating_mul(steps) as f64;
    let height_of = |value: u64| PLOT_PX * value as f64 / top;
    // A little room above for the topmost number of the scale.
    let above = 8.0;
    page.open("div", &[("class", "upright")]);
    page.open("svg", &[("class", "scale"), ("aria-hidden", "true"), ("height", "220")]);
    for at in 0..=steps {
        let y = format!("{:.1}", above + PLOT_PX - height_of(step.saturating_mul(at)) + 4.0);
        page.element("text", &[("x", "100%"), ("y", &y), ("text-anchor", "end")], &short(step.saturating_mul(at)));
    }
    page.close("svg");
    begin(page, id, title, 220.0);
    for at in 0..=steps {
        let y = format!("{:.1}", above + PLOT_PX - height_of(step.saturating_mul(at)));
        page.open("line", &[("class", "grid"), ("x1", "0"), ("x2", "100%"), ("y1", &y), ("y2", &y)]);
        page.close("line");
    }
    let slot = 100.0 / bars.len().max(1) as f64;
    let width = (slot * 0.82).min(9.0);
    for (at, bar) in bars.iter().enumerate() {
        let middle = slot * (at as f64 + 0.5);
        let x = percent(middle - width / 2.0);
        page.open("g", &[]);
        page.element("title", &[], &bar.told());
        let whole = format!("{PLOT_PX}");
        rect(page, "reach", [&percent(slot * at as f64), &above.to_string(), &percent(slot), &whole]);
        let mut foot = above + PLOT_PX;
        for (piece, value) in bar.pieces.iter().filter(|(_, value)| *value > 0) {
            let height = height_of(*value);
            foot -= height;
            rect(page, piece.class(), [&x, &format!("{foot:.2}"), &percent(width), &format!("{height:.2}")]);
        }
        if bar.conflicts() > 0 {
            page.open("circle", &[("class", "spot"), ("cx", &percent(middle)), ("cy", "192"), ("r", "2.5")]);
            page.close("circle");
        }
        page.close("g");
    }
    labels_below(page, bars, slot);
    page.close("svg");
    page.close("div");
}

/// As many labels as a phone has room for: each of a few bars, else the first, the middle and the last.
fn labels_below(page: &mut Page, bars: &[Bar], slot: f64) {
    let last = bars.len().saturating_sub(1);
    for (at, bar) in bars.iter().enumerate() {
        let (anchor, x) = match at {
            _ if bars.len() <= 3 => ("middle", slot * (at as f64 + 0.5)),
            0 => ("start", 0.0),
            at if at == last => ("end", 100.0),
            at if at == last / 2 => ("middle", slot * (at as f64 + 0.5)),
            _ => continue,
        };
        page.element("text", &[("x", &percent(x)), ("y", "212"), ("text-anchor", anchor)], &bar.label);
    }
}

/// Bars that lie below each other, each under its label and its figure.
pub(super) fn lying(page: &mut Page, id: &str, title: &str, bars: &[Bar]) {
    let longest = bars.iter().map(Bar::total).max().unwrap_or(0).max(1) as f64;
    begin(page, id, title, (bars.len() * LINE_PX) as f64);
    for (at, bar) in bars.iter().enumerate() {
        let top = at * LINE_PX;
        let (text_y, bar_y) = ((top + 14).to_string(), (top + 19).to_string());
        page.open("g", &[]);
        page.element("title", &[], &bar.told());
        page.element("text", &[("x", "0"), ("y", &text_y)], &shortened(&bar.label));
        page.element(
            "text",
            &[("class", "figure"), ("x", "100%"), ("y", &text_y), ("text-anchor", "end")],
            &bar.figure,
        );
        rect(page, "track", ["0", &bar_y, "100%", "9"]);
        let mut from = 0.0;
        for (piece, value) in bar.pieces.iter().filter(|(_, value)| *value > 0) {
            let width = (100.0 * *value as f64 / longest).max(SHORTEST_PERCENT);
            // Short pieces that were drawn longer must not push the last one out of the chart.
            let x = f64::min(from, 100.0 - SHORTEST_PERCENT);
            rect(page, piece.class(), [&percent(x), &bar_y, &percent(width.min(100.0 - x)), "9"]);
            from = x + width;
        }
        page.close("g");
    }
    page.close("svg");
}

/// A label that fits: its ends, which tell names of files apart.
fn shortened(label: &str) -> String {
    let chars: Vec<char> = label.chars().collect();
    if chars.len() <= LABEL_CHARS {
        return label.to_string();
    }
    let half = (LABEL_CHARS - 1) / 2;
    let (start, end) = (&chars[..half], &chars[chars.len() - (LABEL_CHARS - 1 - half)..]);
    start.iter().chain(&['…']).chain(end).collect()
}

/// A scale from 0 with at most five steps of 1, 2 or 5 times a power of ten: the step, and how many reach the largest.
fn scale(largest: u64) -> (u64, u64) {
    let mut power: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            let steps = largest.max(1).div_ceil(step);
            if steps <= 5 {
                return (step, steps);
            }
        }
        power = power.saturating_mul(10);
    }
}

/// A number of the scale: exact, since its steps are round.
fn short(value: u64) -> String {
    let units = [(1_000_000_000_000, "tn"), (1_000_000_000, "bn"), (1_000_000, "m"), (1_000, "k")];
    match units.into_iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{}{name}", value as f64 / unit as f64),
        None => value.to_string(),
    }
}
