//! Sets of moments as few windows: what was fetched, and what is missing in between.

use crate::window::Window;
use serde::{Deserialize, Serialize};

/// A set of moments: windows in their order, of which no two touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Window>", into = "Vec<Window>")]
pub struct Spans(Vec<Window>);

impl Spans {
    /// The windows, the earliest first; no two of them touch.
    pub fn windows(&self) -> &[Window] {
        &self.0
    }

    /// Whether there is no moment in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the moments of a window.
    pub fn add(&mut self, window: Window) {
        // Those that end before it begins stay as they are; those that touch it become one with it.
        let first = self.0.partition_point(|known| known.to_us < window.from_us);
        let after = self.0.partition_point(|known| known.from_us <= window.to_us);
        let (mut from_us, mut to_us) = (window.from_us, window.to_us);
        if let (Some(earliest), Some(latest)) = (self.0.get(first), after.checked_sub(1).and_then(|at| self.0.get(at)))
            && first < after
        {
            from_us = from_us.min(earliest.from_us);
            to_us = to_us.max(latest.to_us);
        }
        self.0.splice(first..after.max(first), [Window { from_us, to_us }]);
    }

    /// Adds all moments of another set.
    pub fn extend(&mut self, other: &Spans) {
        other.0.iter().for_each(|window| self.add(*window));
    }

    /// Takes the moments of a window out.
    pub fn remove(&mut self, window: Window) {
        let hole = Spans(vec![window]);
        self.0 = self.0.iter().flat_map(|known| hole.missing(*known).0).collect();
    }

    /// The moments of a window that are not in it.
    pub fn missing(&self, window: Window) -> Spans {
        let mut missing = Vec::new();
        let mut from_us = window.from_us;
        for known in self.0.iter().filter(|known| known.to_us > window.from_us && known.from_us < window.to_us) {
            missing.extend(Window::new(from_us, known.from_us));
            from_us = known.to_us;
        }
        missing.extend(Window::new(from_us, window.to_us));
        Spans(missing)
    }

    /// Its moments within a window.
    pub fn within(&self, window: Window) -> Spans {
        let cut = |known: &Window| Window::new(known.from_us.max(window.from_us), known.to_us.min(window.to_us));
        Spans(self.0.iter().filter_map(cut).collect())
    }

    /// The first and the last moment, as one window.
    pub fn hull(&self) -> Option<Window> {
        Window::new(self.0.first()?.from_us, self.0.last()?.to_us)
    }

    /// How long they are together, in microseconds.
    pub fn length_us(&self) -> i64 {
        self.0.iter().map(|window| window.to_us.saturating_sub(window.from_us)).sum()
    }
}

impl From<Vec<Window>> for Spans {
    fn from(windows: Vec<Window>) -> Spans {
        let mut spans = Spans::default();
        windows.into_iter().for_each(|window| spans.add(window));
        spans
    }
}

impl From<Spans> for Vec<Window> {
    fn from(spans: Spans) -> Vec<Window> {
        spans.0
    }
}
