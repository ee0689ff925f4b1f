//! The generator plants what it says: counted again here, from the files alone, by the definitions of the contract.

use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use tradefold::error::Kind;
use tradefold::generate::{Planted, Profile, Recipe, generate, write_pages};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The contract's columns that count, its order's first: all of them descend, NULL last.
const ORDER: [&str; 3] = ["timestamp", "log_index", "id"];
/// All columns, the two volatile ones last.
const COLUMNS: [&str; 19] = [
    "wallet_address",
    "tx_hash",
    "order_hash",
    "timestamp",
    "log_index",
    "block_number",
    "id",
    "condition_id",
    "token_id",
    "token_label",
    "market_slug",
    "title",
    "side",
    "shares",
    "shares_normalized",
    "price",
    "taker",
    "source_run",
    "fetched_at",
];

#[derive(Clone, Debug)]
enum Cell {
    Null,
    Int(i64),
    Float(f64),
    Text(String),
}

impl Cell {
    fn compare(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Int(a), Cell::Int(b)) => a.cmp(b),
            (Cell::Float(a), Cell::Float(b)) => a.total_cmp(b),
            (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
            (Cell::Null, Cell::Null) => Ordering::Equal,
            (Cell::Null, _) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }

    fn text(&self) -> String {
        match self {
            Cell::Null => "null".into(),
            Cell::Int(number) => number.to_string(),
            Cell::Float(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
        }
    }
}

#[derive(Clone, Debug)]
struct Row {
    cells: Vec<Cell>,
    /// The file and the row group that it stood in.
    place: (PathBuf, usize),
}

impl Row {
    fn get(&self, column: &str) -> &Cell {
        let at = COLUMNS.iter().position(|name| *name == column);
        at.and_then(|at| self.cells.get(at)).unwrap_or(&Cell::Null)
    }

    fn key(&self) -> [String; 3] {
        let order_hash = match self.get("order_hash") {
            Cell::Null => String::new(),
            known => known.text(),
        };
        [self.get("wallet_address").text(), self.get("tx_hash").text(), order_hash]
    }

    fn declared(&self, other: &Row) -> Ordering {
        ORDER.iter().map(|name| other.get(name).compare(self.get(name))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// The declared order, then the columns that count in the contract's order.
    fn total(&self, other: &Row) -> Ordering {
        let compared = self.cells.iter().zip(&other.cells).take(COLUMNS.len() - 2);
        let rest = compared.map(|(one, two)| two.compare(one)).find(|order| order.is_ne());
        self.declared(other).then(rest.unwrap_or(Ordering::Equal))
    }
}

/// The files of a folder, folders in it aside, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

/// All rows, wallets in lower case.
fn read(folder: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for file in files(folder)? {
        let groups = ParquetRecordBatchReaderBuilder::try_new(File::open(&file)?)?.metadata().num_row_groups();
        for group in 0..groups {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file)?)?;
            let columns = reader.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>();
            assert_eq!(columns, COLUMNS);
            for batch in reader.with_row_groups(vec![group]).build()? {
                let batch = batch?;
                for number in 0..batch.num_rows() {
                    rows.push(Row { cells: cells(&batch, number)?, place: (file.clone(), group) });
                }
            }
        }
    }
    Ok(rows)
}

fn cells(batch: &RecordBatch, row: usize) -> Result<Vec<Cell>> {
    let schema = batch.schema();
    let cells = schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
        let array = array.as_any();
        let name = field.name();
        let cell = if let Some(array) = array.downcast_ref::<StringArray>() {
            let folded = |text: &str| if name == "wallet_address" { text.to_lowercase() } else { text.to_string() };
            array.is_valid(row).then(|| Cell::Text(folded(array.value(row))))
        } else if let Some(array) = array.downcast_ref::<Int64Array>() {
            array.is_valid(row).then(|| Cell::Int(array.value(row)))
        } else if let Some(array) = array.downcast_ref::<Float64Array>() {
            array.is_valid(row).then(|| Cell::Float(array.value(row)))
        } else if let Some(array) = array.downcast_ref::<TimestampMicrosecondArray>() {
            array.is_valid(row).then(|| Cell::Int(array.value(row)))
        } else {
            return Err(format!("column {name} has a type that no trade has").into());
        };
        Ok(cell.unwrap_or(Cell::Null))
    });
    cells.collect()
}

fn by_key(rows: &[Row]) -> HashMap<[String; 3], Vec<&Row>> {
    let mut groups: HashMap<_, Vec<&Row>> = HashMap::new();
    for row in rows {
        groups.entry(row.key()).or_default().push(row);
    }
    groups
}

fn values(rows: &[&Row], column: &str) -> BTreeSet<String> {
    rows.iter().map(|row| row.get(column)).filter(|cell| !matches!(cell, Cell::Null)).map(Cell::text).collect()
}

/// The slow and obvious count.
fn count(folder: &Path) -> Result<Planted> {
    let rows = read(folder)?;
    let mut found = Planted { rows: rows.len() as u64, ..Planted::default() };
    for group in by_key(&rows).values_mut() {
        found.keys += 1;
        group.sort_by(|a, b| a.total(b));
        for loser in &group[1..] {
            if group[0].total(loser).is_eq() {
                found.exact += 1;
            } else if group[0].declared(loser).is_ne() {
                found.superseded += 1;
            } else {
                found.conflict += 1;
            }
        }
        let unnamed = group.iter().filter(|row| matches!(row.get("order_hash"), Cell::Null)).copied();
        if values(group, "log_index").len() > 1 || values(&unnamed.collect::<Vec<_>>(), "id").len() > 1 {
            found.suspect_keys += 1;
            found.suspect_rows += group.len() as u64;
        }
        found.redated_keys += u64::from(values(group, "timestamp").len() > 1);
    }
    Ok(found)
}

fn recipe(profile: Profile, rows: u64, seed: u64, odd_share: f64, suspects: u64) -> Recipe {
    Recipe { odd_share, suspects, ..Recipe::new(profile, rows, seed) }
}

#[test]
fn plants_what_it_says() -> Result {
    for (seed, rows, odd_share, suspects) in [
        (1, 6_000, 0.1, 0),
        (2, 6_001, 1.0, 0),
        (3, 5_999, 1.0, 41),
        (4, 4_000, 0.0, 0),
        (5, 4_000, 0.3, 1),
        (6, 1, 1.0, 0),
    ] {
        for profile in [Profile::Rerun, Profile::Spread] {
            let folder = tempfile::tempdir()?;
            let planted = generate(&recipe(profile, rows, seed, odd_share, suspects), folder.path())?;
            let counted = Planted { classes: planted.classes.clone(), ..count(folder.path())? };
            assert_eq!(planted, counted, "seed {seed}, {profile:?}");
            assert_eq!((planted.rows, planted.suspect_keys), (rows, suspects));
        }
    }
    Ok(())
}

#[test]
fn plants_every_kind() -> Result {
    let folder = tempfile::tempdir()?;
    let planted = generate(&recipe(Profile::Rerun, 12_000, 11, 1.0, 10), folder.path())?;
    let kinds = &planted.classes;
    for count in [
        kinds.a_exact_copy,
        kinds.b_new_id,
        kinds.c_no_order_hash,
        kinds.d_separate_fills,
        kinds.e_order_in_other_tx,
        kinds.f_redated,
        kinds.g_price_precision,
        kinds.h_wallet_case,
        kinds.i_other_log_index,
        kinds.k_orphan,
    ] {
        assert!(count >= 5, "{planted:?}");
    }
    // Every row is a fill, or a copy of one kind; the separate fills of a key are fills but for one, which is its key.
    let fills = planted.keys - kinds.c_no_order_hash;
    let odd = kinds.b_new_id + kinds.c_no_order_hash + kinds.f_redated + kinds.g_price_precision;
    let odd = odd + kinds.h_wallet_case + kinds.i_other_log_index;
    let separate = kinds.d_separate_fills - (planted.suspect_keys - kinds.i_other_log_index);
    assert_eq!(planted.rows, fills + kinds.a_exact_copy + odd + separate);
    assert_eq!(planted.rows, planted.keys + planted.exact + planted.superseded + planted.conflict);

    let rows = read(folder.path())?;
    let orphans = by_key(&rows);
    let orphans = orphans.values().filter(|group| values(group, "condition_id").iter().all(String::is_empty));
    assert_eq!(orphans.count() as u64, kinds.k_orphan);
    Ok(())
}

#[test]
fn odd_keys_keep_to_their_share_of_row_groups() -> Result {
    let folder = tempfile::tempdir()?;
    let recipe = Recipe { row_group_rows: 200, ..recipe(Profile::Rerun, 12_000, 3, 0.1, 0) };
    generate(&recipe, folder.path())?;
    let rows = read(folder.path())?;
    let all = rows.iter().map(|row| &row.place).collect::<BTreeSet<_>>();
    let (mut odd, mut fills) = (BTreeSet::new(), HashMap::new());
    for group in by_key(&rows).values() {
        let differs = group.iter().any(|row| row.total(group[0]).is_ne());
        let is_orphan = values(group, "condition_id").iter().all(String::is_empty);
        let [wallet, tx_hash, order_hash] = group[0].key();
        let is_known_twice = fills.insert((wallet, tx_hash, group[0].get("log_index").text()), ()).is_some();
        if differs || is_orphan || is_known_twice || order_hash.is_empty() {
            odd.extend(group.iter().map(|row| &row.place));
        }
    }
    assert!(all.len() >= 60 && !odd.is_empty());
    assert!(odd.len() <= all.len() / 10 + 3, "{} of {} row groups are odd", odd.len(), all.len());
    Ok(())
}

#[test]
fn same_recipe_same_bytes_other_seed_other_keys() -> Result {
    let (one, two, other) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let recipe = Recipe { files: 2, ..recipe(Profile::Rerun, 3_000, 9, 0.5, 3) };
    assert_eq!(generate(&recipe, one.path())?, generate(&recipe, two.path())?);
    let names = files(one.path())?;
    assert_eq!(names.len(), 6);
    for file in names {
        let same = two.path().join(file.file_name().ok_or("a file without a name")?);
        assert_eq!(std::fs::read(&file)?, std::fs::read(same)?, "{}", file.display());
    }
    generate(&Recipe { seed: 10, ..recipe }, other.path())?;
    let keys = |folder: &Path| Ok::<_, Box<dyn Error>>(read(folder)?.iter().map(Row::key).collect::<BTreeSet<_>>());
    assert!(keys(one.path())?.is_disjoint(&keys(other.path())?));
    Ok(())
}

#[test]
fn both_profiles_hold_the_same_rows_elsewhere() -> Result {
    let (rerun, spread) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let recipe = Recipe { files: 3, ..recipe(Profile::Rerun, 5_000, 2, 0.4, 5) };
    let planted = generate(&recipe, rerun.path())?;
    assert_eq!(planted, generate(&Recipe { profile: Profile::Spread, ..recipe }, spread.path())?);
    let texts = |rows: &[Row]| rows.iter().map(|row| format!("{:?}", row.cells)).collect::<Vec<_>>();
    let (mut rerun, mut spread) = (texts(&read(rerun.path())?), texts(&read(spread.path())?));
    assert!(rerun != spread);
    rerun.sort();
    spread.sort();
    assert!(rerun == spread);
    Ok(())
}

#[test]
fn trades_look_real() -> Result {
    let folder = tempfile::tempdir()?;
    let recipe = recipe(Profile::Rerun, 30_000, 7, 0.1, 0);
    let planted = generate(&recipe, folder.path())?;
    let duplicates = 1.0 - planted.keys as f64 / planted.rows as f64;
    assert!((duplicates - 0.644).abs() < 0.005, "{duplicates}");

    let rows = read(folder.path())?;
    let share = |holds: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count() as f64 / rows.len() as f64;
    let buys = share(&|row| row.get("side").text() == "BUY");
    assert!((0.75..0.85).contains(&buys), "{buys}");
    let exchanges = ["0x4bfb41d5b3570defd03c39a9a4d8de6bd8b8982e", "0xc5d563a36ae78145c45a50134d48a1215220f80a"];
    let takers = share(&|row| exchanges.contains(&row.get("taker").text().as_str()));
    assert!((0.36..0.41).contains(&takers), "one of 2.6 fills is a taker's, not {takers}");
    let tokens = share(&|row| (76..=78).contains(&row.get("token_id").text().len()));
    assert!((tokens - 1.0).abs() < f64::EPSILON);
    let tails = share(&|row| row.get("price").text().len() > "0.1234".len());
    assert!((0.05..0.4).contains(&tails), "{tails}");
    let whole_seconds = share(&|row| matches!(row.get("timestamp"), Cell::Int(us) if us % 1_000_000 == 0));
    assert!((whole_seconds - 1.0).abs() < f64::EPSILON);
    Ok(())
}

#[test]
fn pages_hold_the_rows_of_the_files() -> Result {
    let (parquet, pages) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let recipe = recipe(Profile::Rerun, 500, 5, 1.0, 4);
    assert_eq!(generate(&recipe, parquet.path())?, write_pages(&recipe, pages.path(), 60)?);
    let fields = ["tx_hash", "order_hash", "id", "condition_id", "token_id", "side", "log_index", "shares", "taker"];
    let mut orders = Vec::new();
    for file in files(pages.path())? {
        let page: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        let rows = page["orders"].as_array().ok_or("a page without orders")?;
        let pagination = &page["pagination"];
        assert!(rows.len() == 60 || pagination["has_more"] == false);
        assert_eq!(pagination["has_more"], pagination.get("pagination_key").is_some());
        orders.extend(rows.iter().map(|order| {
            let text = |name: &str| order[name].as_str().map_or_else(|| order[name].to_string(), str::to_string);
            let wallet = text("user").to_lowercase();
            format!("{wallet} {} {}000000", fields.map(text).join(" "), order["timestamp"])
        }));
    }
    let rows = read(parquet.path())?;
    let written = rows.iter().map(|row| {
        let text = |name: &str| row.get(name).text();
        format!("{} {} {}", text("wallet_address"), fields.map(text).join(" "), text("timestamp"))
    });
    let mut written = written.collect::<Vec<_>>();
    orders.sort();
    written.sort();
    assert!(orders == written, "{:?}, not {:?}", orders.first(), written.first());
    Ok(())
}

#[test]
fn demo_holds_what_its_recipes_say() -> Result {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let demo = Recipe { days: 20, ..Recipe::new(Profile::Rerun, 27_000, 7) };
    let day =
        Recipe { days: 1, first_day: "2025-10-22".to_string().try_into()?, ..Recipe::new(Profile::Spread, 600, 9) };
    let suspects = Recipe { suspects: 3, odd_share: 0.0, ..day };
    for (name, recipe) in [("demo", demo), ("demo-suspects", suspects)] {
        let folder = tempfile::tempdir()?;
        let planted = generate(&recipe, folder.path())?;
        let counted = Planted { classes: planted.classes.clone(), ..count(&fixtures.join(name))? };
        assert_eq!(planted, counted, "{name}");
    }
    Ok(())
}

#[test]
fn refuses_what_makes_no_sense() -> Result {
    let folder = tempfile::tempdir()?;
    for senseless in [
        recipe(Profile::Rerun, 0, 1, 0.1, 0),
        recipe(Profile::Rerun, 100, 1, 1.5, 0),
        recipe(Profile::Spread, 100, 1, 0.1, 1_000),
    ] {
        let error = generate(&senseless, folder.path()).err().ok_or("made no error")?;
        assert_eq!(error.kind(), Kind::Usage);
    }
    assert!(files(folder.path())?.is_empty());
    Ok(())
}
