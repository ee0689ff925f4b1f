//! A contract made ready to judge rows: which input name fills which column, and what a row must have.

use super::LandingOptions;
use super::convert::{Value, convert};
use super::demand::Demand;
use super::occurrences::Occurrences;
use crate::dataset::{Bound, Column, ColumnType, Dataset};
use crate::error::{Error, Result};
use crate::source::{Cell, CellPath, Fields, Page, Reason};
use crate::window::{DAY_US, Day, Window};
use std::collections::HashMap;

/// Times that every engine knows: the years 1 to 9999.
pub(super) const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
static NULL: Cell<'static> = Cell::Null;

/// What becomes of a row.
pub(crate) enum Verdict<'a> {
    /// It lands with these values, one for each column.
    Land(Vec<Option<Value<'a>>>),
    /// It is outside of the window.
    Outside,
    /// It is set aside because of a column.
    Reject(usize, Reason),
}

/// One part of the key: some column of `columns` must be known, unless a text stands in.
pub(crate) struct KeyRule {
    /// The column itself, then those that stand in.
    pub(crate) columns: Vec<usize>,
    pub(crate) is_never_null: bool,
}

/// The rules for rows of one dataset in one run.
pub(crate) struct Rules {
    pub(crate) columns: Vec<Column>,
    pub(crate) key: Vec<KeyRule>,
    /// Columns that must be known, with what is said where they are not.
    pub(crate) required: Vec<(usize, &'static str)>,
    /// The column that says when a row's event was, where there is one.
    time: Option<usize>,
    /// The window in which the time of every row must be.
    window: Option<Window>,
    /// For each column whether a time in it that is later than the present is a mistake.
    is_past: Vec<bool>,
    now_us: i64,
    /// The page whose rows are judged, where they are a page's.
    page: Option<Page>,
    /// The column that says when a row was fetched.
    pub(crate) fetched: Option<usize>,
    occurrences: Option<Occurrences>,
    /// Input names that lead into nested JSON, with the slots that they fill.
    paths: Vec<(CellPath, Slot)>,
    /// For each input name its column and its rank among the column's names.
    slots: HashMap<String, Slot>,
}

/// A column and the rank of a name among those that inputs may have for it.
pub(crate) type Slot = (usize, usize);

/// A value inside of a row's nested field.
pub(crate) struct Inner<'a> {
    /// The place of the field in the row.
    pub(crate) field: usize,
    pub(crate) slot: Slot,
    pub(crate) cell: Cell<'a>,
}

impl Rules {
    pub(crate) fn new(dataset: &Dataset, options: &LandingOptions) -> Result<Rules> {
        let index = |name: &str| {
            let unknown = || Error::bug("find a column in a contract").with("column", name);
            dataset.columns.iter().position(|column| column.name == name).ok_or_else(unknown)
        };
        let mut key = Vec::new();
        for part in &dataset.key {
            let columns = part.columns().map(&index).collect::<Result<Vec<_>>>()?;
            key.push(KeyRule { columns, is_never_null: part.is_never_null() });
        }
        let mut required = Vec::new();
        let mut is_past = vec![false; dataset.columns.len()];
        if let Some(first) = dataset.order.first() {
            required.push((index(&first.column)?, "no order value"));
        }
        if let Some(name) = &dataset.partition {
            required.push((index(name)?, "NULL in the partition column"));
        }
        let times = dataset.order.iter().map(|order| &order.column).chain(&dataset.partition);
        for name in times.clone() {
            is_past[index(name)?] = true;
        }
        let time = dataset.time_column().map(&index).transpose()?;
        if options.window.is_some() {
            let time = time.ok_or_else(|| {
                Error::usage("cut a dataset to a window")
                    .with("dataset", &dataset.name)
                    .hint("it has no time in its partition or its order: leave out --from and --to")
            })?;
            required.push((time, "no time to compare with the window"));
        }
        let mut slots = HashMap::new();
        // Own names first: another column's other name must not take them.
        for rank in 0..=dataset.columns.iter().map(|column| column.from.len()).max().unwrap_or(0) {
            for (column, name) in dataset.columns.iter().map(|c| c.input_names().nth(rank)).enumerate() {
                if let Some(name) = name {
                    slots.entry(name.to_string()).or_insert((column, rank));
                }
            }
        }
        let named = slots.iter().filter_map(|(name, slot)| Some((CellPath::of_name(name)?, *slot)));
        let mut paths: Vec<_> = named.collect();
        paths.sort_by_key(|(_, slot)| *slot);
        Ok(Rules {
            columns: dataset.columns.clone(),
            key,
            required,
            time,
            window: options.window,
            is_past,
            now_us: options.now_us,
            page: None,
            fetched: dataset.fetched.as_deref().map(&index).transpose()?,
            occurrences: Occurrences::new(dataset)?,
            paths,
            slots,
        })
    }

    /// Says whose rows come next: those of a page, or of a file.
    pub(crate) fn turn_to(&mut self, page: Option<Page>) {
        self.page = page;
    }

    /// The column that is counted here and that the rows of a page must not bring.
    pub(crate) fn counted(&self) -> Option<usize> {
        self.page.and(self.occurrences.as_ref()).map(|occurrences| occurrences.column)
    }

    /// The values inside of nested fields that the contract has a name for. A plain field of that name comes first.
    pub(crate) fn inner<'a>(&self, fields: &'a Fields<'_>) -> Vec<Inner<'a>> {
        let mut found = Vec::new();
        for (path, slot) in &self.paths {
            let field = fields.iter().rposition(|(name, _)| *name == path.field);
            let Some((field, Cell::Nested(text))) = field.map(|field| (field, &fields[field].1)) else { continue };
            if !fields.iter().any(|(name, _)| *name == path.name)
                && let Some(cell) = path.find(text)
            {
                found.push(Inner { field, slot: *slot, cell });
            }
        }
        found
    }

    /// The columns that values inside of a nested field fill.
    pub(crate) fn inner_of(&self, field: &str) -> Vec<usize> {
        self.paths.iter().filter(|(path, _)| path.field == field).map(|(_, (column, _))| *column).collect()
    }

    /// The column that an input's name fills, and the name's rank: 0 is the column's own.
    pub(crate) fn slot(&self, name: &str) -> Option<Slot> {
        self.slots.get(name).copied()
    }

    /// Room for a row's cells.
    pub(crate) fn row<'a>(&self) -> Row<'a> {
        Row { cells: vec![(&NULL, usize::MAX); self.columns.len()] }
    }

    /// Judges a row. Its time comes first: what is outside of the window need not be right otherwise, but a time that
    /// can't be true is a mistake and not another window's.
    pub(crate) fn judge<'a>(&mut self, row: &Row<'a>) -> Verdict<'a> {
        if let Some((column, window)) = self.windowed() {
            match self.value(column, row.cells[column].0) {
                Err(reason) => return Verdict::Reject(column, reason),
                Ok(Some(value)) if !is_inside(&value, window) => return Verdict::Outside,
                Ok(_) => {}
            }
        }
        let mut values = Vec::with_capacity(self.columns.len());
        for (column, (cell, _)) in row.cells.iter().enumerate() {
            match self.value(column, cell) {
                Ok(value) => values.push(value),
                Err(reason) => return Verdict::Reject(column, reason),
            }
        }
        let counted = self.counted();
        if let Some(column) = counted {
            if values[column].is_some() {
                return Verdict::Reject(column, Reason::new("the number of an occurrence is counted here"));
            }
            // Any number will do until it is known that the row lands.
            values[column] = Some(Value::Int(0));
        }
        for part in &self.key {
            if !part.is_never_null && part.columns.iter().all(|column| values[*column].is_none()) {
                return Verdict::Reject(part.columns[0], Reason::new("NULL in a key column"));
            }
        }
        if let Some((column, phrase)) = self.required.iter().find(|(column, _)| values[*column].is_none()) {
            return Verdict::Reject(*column, Reason::new(phrase));
        }
        if let (Some(column), Some(page), Some(occurrences)) = (counted, self.page, &mut self.occurrences) {
            values[column] = Some(Value::Int(occurrences.count(page.pass, &values)));
        }
        Verdict::Land(values)
    }

    /// What every known value of a column must be so that it lands as it is: [`Rules::judge`], turned into a span.
    pub(crate) fn demand(&self, column: usize) -> Demand {
        let Column { kind, hex, decimal, min, max, .. } = &self.columns[column];
        let int = |bound: &Option<Bound>| match bound {
            Some(Bound::Int(bound)) => Some(*bound),
            _ => None,
        };
        let float = |bound: &Option<Bound>| match bound {
            Some(Bound::Int(bound)) => Some(*bound as f64),
            Some(Bound::Float(bound)) => Some(*bound),
            None => None,
        };
        let (least, most) = (int(min).unwrap_or(i64::MIN), int(max).unwrap_or(i64::MAX));
        let (first_us, last_us) = self.times(column);
        match kind {
            ColumnType::String if *hex => Demand::LowerCase,
            ColumnType::String if *decimal => Demand::Decimal,
            ColumnType::String | ColumnType::Bool => Demand::Nothing,
            ColumnType::Json => Demand::Canonical,
            ColumnType::Int64 => Demand::Within(least, most),
            ColumnType::Float64 => {
                Demand::Finite(float(min).unwrap_or(f64::NEG_INFINITY), float(max).unwrap_or(f64::INFINITY))
            }
            ColumnType::Timestamp => Demand::Within(least.max(first_us), most.min(last_us)),
            ColumnType::Date => {
                // A day counts by its first microsecond.
                let first = first_us.div_euclid(DAY_US) + i64::from(first_us.rem_euclid(DAY_US) > 0);
                Demand::Within(least.max(first), most.min(last_us.div_euclid(DAY_US)))
            }
        }
    }

    /// The first and the last time that a column may have.
    fn times(&self, column: usize) -> (i64, i64) {
        let latest_us = self.latest_us(column).unwrap_or(i64::MAX);
        let (first_us, last_us) = (*TIMES.start(), latest_us.min(*TIMES.end()));
        match self.windowed() {
            Some((windowed, window)) if windowed == column => {
                (first_us.max(window.from_us), last_us.min(window.to_us.saturating_sub(1)))
            }
            _ => (first_us, last_us),
        }
    }

    /// The column whose values must be in a window, where there is one: that of the run, or the one that a page was
    /// asked for.
    pub(super) fn windowed(&self) -> Option<(usize, Window)> {
        Some((self.time?, self.window.or(self.page.and_then(|page| page.window))?))
    }

    /// The last time that is no mistake in a column. A fetch may go on for days: a page is as late as it was fetched.
    pub(super) fn latest_us(&self, column: usize) -> Option<i64> {
        let now_us = self.page.map_or(self.now_us, |page| page.fetched_at_us.max(self.now_us));
        self.is_past[column].then(|| now_us.saturating_add(DAY_US))
    }

    fn value<'a>(&self, column: usize, cell: &'a Cell<'_>) -> std::result::Result<Option<Value<'a>>, Reason> {
        let value = convert(cell, &self.columns[column])?;
        let us = match value {
            Some(Value::Time(us)) => us,
            Some(Value::Day(day)) => Day(day).start_us(),
            _ => return Ok(value),
        };
        // The future first: it says more about milliseconds that were taken for seconds.
        let wrong = match self.latest_us(column) {
            Some(latest) if us > latest => "a time in the future",
            _ if !TIMES.contains(&us) => "a time out of range",
            _ => return Ok(value),
        };
        Err(Reason::of(wrong, crate::window::text_of_us(us)))
    }
}

/// A row's cells by column; of several names of one column the first counts that is not NULL.
pub(crate) struct Row<'a> {
    cells: Vec<(&'a Cell<'a>, usize)>,
}

impl<'a> Row<'a> {
    /// Gives a column a value that the row does not know.
    pub(crate) fn fill(&mut self, column: usize, cell: &'a Cell<'a>) {
        if *self.cells[column].0 == Cell::Null {
            self.cells[column] = (cell, 0);
        }
    }

    pub(crate) fn set(&mut self, (column, rank): Slot, cell: &'a Cell<'a>) {
        let known = &mut self.cells[column];
        // The same name twice: the last value counts, as everywhere in JSON.
        if *cell == Cell::Null && rank == known.1 {
            *known = (&NULL, usize::MAX);
        } else if *cell != Cell::Null && rank <= known.1 {
            *known = (cell, rank);
        }
    }
}

fn is_inside(value: &Value<'_>, window: Window) -> bool {
    match value {
        Value::Time(us) => window.contains(*us),
        Value::Day(day) => window.contains(Day(*day).start_us()),
        _ => true,
    }
}
