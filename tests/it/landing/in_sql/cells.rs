//! Values of a table of BigQuery, nasty ones too: for Parquet, as literals, and as JSON.

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tradefold::landing::{SourceColumn, SourceType};
use tradefold::sql::Dialect;
use tradefold::window::Day;

/// A value of a column, whose type says what its number is.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Text(String),
    /// An integer, a boolean as 0 and 1, a day, or a time in microseconds.
    Int(i64),
    Float(f64),
}

/// A table with its rows.
#[derive(Clone, Debug)]
pub struct Table {
    pub columns: Vec<SourceColumn>,
    pub rows: Vec<Vec<Cell>>,
}

pub fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

pub fn column(name: &str, kind: SourceType) -> SourceColumn {
    SourceColumn { name: name.into(), kind }
}

impl Table {
    /// As the files of an export have them.
    pub fn arrays(&self) -> Vec<(&str, ArrayRef)> {
        let array = |place: usize| -> ArrayRef {
            let column = &self.columns[place];
            let cells = self.rows.iter().map(|row| &row[place]);
            let ints = || cells.clone().map(|cell| if let Cell::Int(int) = cell { Some(*int) } else { None });
            match &column.kind {
                SourceType::Text => {
                    let texts = cells.map(|cell| if let Cell::Text(text) = cell { Some(text.as_str()) } else { None });
                    Arc::new(texts.collect::<StringArray>())
                }
                SourceType::Float => {
                    let floats = cells.map(|cell| if let Cell::Float(float) = cell { Some(*float) } else { None });
                    Arc::new(floats.collect::<Float64Array>())
                }
                SourceType::Int => Arc::new(ints().collect::<Int64Array>()),
                SourceType::Bool => Arc::new(ints().map(|int| int.map(|int| int == 1)).collect::<BooleanArray>()),
                SourceType::Date => Arc::new(ints().map(|int| int.map(|int| int as i32)).collect::<Date32Array>()),
                SourceType::Timestamp => Arc::new(ints().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
                SourceType::DateTime => Arc::new(ints().collect::<TimestampMicrosecondArray>()),
                SourceType::Other(name) => panic!("{name}"),
            }
        };
        self.columns.iter().enumerate().map(|(place, column)| (column.name.as_str(), array(place))).collect()
    }

    /// The same for an emulator that takes far times for floats: without parts of their seconds.
    #[must_use]
    pub fn coarse(mut self) -> Table {
        for cell in self.rows.iter_mut().flatten() {
            let Cell::Int(int) = cell else { continue };
            let whole = match int.unsigned_abs() {
                0..200_000_000_000_000 => continue,
                200_000_000_000_000..9_000_000_000_000_000 => 1_000,
                _ => 1_000_000,
            };
            *int = *int / whole * whole;
        }
        self
    }

    /// The statements that make it under a name, which is quoted.
    pub fn statements(&self, name: &str) -> [String; 2] {
        let columns = self.columns.iter().map(|column| format!("`{}` {}", column.name, column.kind.name()));
        let rows = self.rows.iter().map(|row| {
            let literals = row.iter().zip(&self.columns).map(|(cell, column)| literal(cell, &column.kind));
            format!("({})", literals.collect::<Vec<_>>().join(", "))
        });
        [
            format!("CREATE TABLE {name} ({})", columns.collect::<Vec<_>>().join(", ")),
            format!("INSERT INTO {name} VALUES {}", rows.collect::<Vec<_>>().join(",\n")),
        ]
    }

    /// As GoogleSQL's evaluator gets it: the table, and a query in brackets that gives columns the types that its JSON
    /// has not.
    pub fn for_judge(&self) -> (Json, String) {
        let kinds = self.columns.iter().map(|column| match &column.kind {
            SourceType::Float => json!([column.name, "STRING"]),
            SourceType::DateTime => json!([column.name, "TIMESTAMP"]),
            kind => json!([column.name, kind.name()]),
        });
        let exprs = self.columns.iter().map(|column| {
            let name = format!("`{}`", column.name);
            match &column.kind {
                SourceType::Float => format!("CAST({name} AS FLOAT64) AS {name}"),
                SourceType::DateTime => format!("DATETIME({name}) AS {name}"),
                _ => name,
            }
        });
        let source = format!("(SELECT {} FROM `p.d.t`)", exprs.collect::<Vec<_>>().join(", "));
        let rows: Vec<Vec<Json>> = self
            .rows
            .iter()
            .map(|row| row.iter().zip(&self.columns).map(|(cell, column)| to_json(cell, &column.kind)).collect())
            .collect();
        (json!({ "p.d.t": { "columns": kinds.collect::<Vec<_>>(), "rows": rows } }), source)
    }
}

fn literal(cell: &Cell, kind: &SourceType) -> String {
    match (cell, kind) {
        (Cell::Null, _) => "NULL".into(),
        // The emulator knows no other escapes of theirs.
        (Cell::Text(text), _) => Dialect::GoogleSql.text(text).replace("\\u000a", "\\n").replace("\\u0009", "\\t"),
        (Cell::Float(float), _) => format!("CAST('{float:?}' AS FLOAT64)"),
        (Cell::Int(int), SourceType::Bool) => (*int == 1).to_string(),
        (Cell::Int(int), SourceType::Date) => format!("DATE '{}'", Day(*int as i32)),
        (Cell::Int(int), SourceType::Timestamp) => format!("TIMESTAMP '{}+00:00'", time(*int)),
        (Cell::Int(int), SourceType::DateTime) => format!("DATETIME '{}'", time(*int)),
        (Cell::Int(int), _) => format!("CAST('{int}' AS INT64)"),
    }
}

fn time(us: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(us).unwrap().format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn to_json(cell: &Cell, kind: &SourceType) -> Json {
    match (cell, kind) {
        (Cell::Null, _) => Json::Null,
        (Cell::Text(text), _) => json!(text),
        (Cell::Float(float), _) => json!(format!("{float:?}")),
        (Cell::Int(int), SourceType::Bool) => json!(*int == 1),
        (Cell::Int(int), SourceType::Date) => json!(Day(*int as i32).to_string()),
        (Cell::Int(int), _) => json!(int),
    }
}

pub const FIRST_US: i64 = -62_135_596_800_000_000;
pub const LAST_US: i64 = 253_402_300_799_999_999;

/// Texts with bars between.
const TEXTS: &str = "| |0xAB|0xab|Ä0XÀ|ß\u{212a}İſ|true|TRUE|False|falſe|t|1|-1|007|-007|+5|-0|00|1.0|2.50|1e3|1E-3|.5|-.5|5.\
    |-0.0|0.0e7|99999999999999999999|-99999999999999999999|9223372036854775807|9223372036854775808\
    |-9223372036854775808|-9223372036854775809|1e999|-1e999|1e308|1.8e308|1e-400|4.9e-324|inf|-Infinity|NaN|nan|+nan\
    |infinit|0.1|100|100.5|101|-5|-6|9007199254740992.0|9007199254740993.0|9007199254740994.0|9007199254740993\
    | 1|1 |1\n|\n1|1\u{a0}|1_0|0x1A|0b1|1e|e1|1e+|--1|+-1|.|-|+|1,5|1.2.3|1.5e-2|1.5e+2|12.340E+1|1.25e4|1e99|1e100\
    |1e-98|1e-99|0e99999999999999999999|1e99999999999999999999|1e-99999999999999999999|\u{661}\
    |it's \\ \"no\" `one`|none|NULL|a\u{301}|á|\u{1f600}|\t|?|@x|--|{{x}}|0.5699998232997013\
    |115792089237316195423570985008687907853269984665640564039457584007913129639935.10";

const INTS: [i64; 24] = [
    0,
    1,
    -1,
    -5,
    -6,
    100,
    101,
    i64::MAX,
    i64::MIN,
    i64::MIN + 1,
    9_223_372_036_854,
    9_223_372_036_855,
    -9_223_372_036_854,
    -9_223_372_036_855,
    9_223_372_036_854_775,
    9_223_372_036_854_776,
    9_007_199_254_740_993,
    1_760_000_000,
    1_760_000_000_000,
    1_760_000_000_000_000,
    1_577_836_800,
    1_577_836_799,
    LAST_US / 1_000,
    LAST_US / 1_000 + 1,
];

const FLOATS: [f64; 43] = [
    0.0,
    -0.0,
    0.5,
    1.5,
    2.5,
    2.5000000000000004,
    -1.5,
    -1.5000000000000002,
    3.0,
    100.0,
    101.0,
    -5.0,
    -6.0,
    f64::NAN,
    -f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MAX,
    f64::MIN,
    5e-324,
    1e300,
    9_007_199_254_740_992.0,
    9_007_199_254_740_994.0,
    -9_007_199_254_740_992.0,
    1_760_000_000.25,
    1_760_000_000.000_000_5,
    0.000_000_5,
    0.000_001_5,
    -0.000_000_5,
    9e12,
    9.1e12,
    -9e12,
    9.3e12,
    9e15,
    9.3e15,
    9e18,
    9.3e18,
    1e19,
    -1e19,
    -62_135_596_800.0,
    -62_135_596_801.0,
    253_402_300_799.0,
    253_402_300_800.0,
];

/// Values that somebody may get wrong. `now_us` is the present.
pub fn nasty(kind: &SourceType, now_us: i64) -> Vec<Cell> {
    let edge_us = now_us + 86_400_000_000;
    let ints = |ints: &[i64]| ints.iter().map(|int| Cell::Int(*int)).collect::<Vec<_>>();
    match kind {
        SourceType::Text => {
            let (big, tiny) = (format!("1{}", "0".repeat(99)), format!("0.{}1", "0".repeat(98)));
            let long = format!("{big}0");
            TEXTS.split('|').chain([big.as_str(), tiny.as_str(), long.as_str()]).map(text).collect()
        }
        SourceType::Int => {
            let edges = [edge_us, edge_us / 1_000, edge_us / 1_000_000, FIRST_US, LAST_US, FIRST_US / 1_000];
            [ints(&INTS), ints(&edges), ints(&edges.map(|edge| edge + 1)), ints(&[FIRST_US - 1])].concat()
        }
        SourceType::Float => {
            let edges = [edge_us as f64, edge_us as f64 / 1e6, edge_us as f64 / 1e6 + 0.5];
            FLOATS.into_iter().chain(edges).map(Cell::Float).collect()
        }
        SourceType::Bool => ints(&[0, 1]),
        SourceType::Date => ints(&[-719_162, 2_932_896, 0, 11_323, 11_322, 21_915, 21_916, 20_423, 20_424, 20_425]),
        SourceType::Timestamp | SourceType::DateTime => {
            let zoned = [FIRST_US + 7_199_999_999, FIRST_US + 7_200_000_000, LAST_US - 7_200_000_000];
            let edges = [edge_us, edge_us + 1, edge_us + 7_200_000_000, edge_us + 7_200_000_001];
            let others = [now_us, 0, -1, 1, 1_577_836_800_000_000, 1_577_836_799_999_999, 1_760_000_000_123_456];
            let ends = [FIRST_US, FIRST_US + 1, LAST_US, LAST_US - 1];
            [ints(&zoned), ints(&edges), ints(&others), ints(&ends)].concat()
        }
        SourceType::Other(name) => panic!("{name}"),
    }
}
