//! The contract as a table of BigQuery: its schema, its DDL, and what an existing table has that does not fit.

use super::access::Place;
use crate::dataset::{Column, ColumnType, Dataset};
use crate::error::Result;
use crate::sql::{Dialect, Exprs, REDUCED};
use google_cloud_bigquery_v2::model::{Clustering, Table, TableFieldSchema, TableSchema, TimePartitioning};

/// How a target is made where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Clustered only, as some prefer it: queries of all days are cheaper, a merge reads more.
    pub is_unpartitioned: bool,
    /// Whether BigQuery refuses queries that do not say which days they want.
    pub requires_partition_filter: bool,
}

/// The most columns that a table may be clustered by.
const CLUSTER_MAX: usize = 4;

/// A column's type as BigQuery's API calls it.
fn type_of(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Int64 => "INTEGER",
        ColumnType::Float64 => "FLOAT",
        ColumnType::Bool => "BOOLEAN",
        other => other.googlesql(),
    }
}

fn field(column: &Column) -> TableFieldSchema {
    let mut field = TableFieldSchema::new().set_name(&column.name).set_type(type_of(column.kind)).set_mode("NULLABLE");
    if type_of(column.kind) == "STRING" {
        // A dataset may have a collation for its tables, under which different texts are equal.
        field = field.set_collation("");
    }
    match column.description.is_empty() {
        true => field,
        false => field.set_description(&*column.description),
    }
}

/// The contract's columns.
pub(super) fn schema(dataset: &Dataset) -> TableSchema {
    TableSchema::new().set_fields(dataset.columns.iter().map(field))
}

/// A table with the contract's columns, and nothing else.
pub(super) fn bare(dataset: &Dataset) -> Table {
    Table::new().set_schema(schema(dataset))
}

/// A table for rows that were reduced where they lie, by day as the target is.
pub(super) fn reduced(dataset: &Dataset) -> Table {
    let own = REDUCED.iter().map(|(name, kind)| {
        let field = TableFieldSchema::new().set_name(*name).set_type(*kind).set_mode("NULLABLE");
        if *kind == "STRING" { field.set_collation("") } else { field }
    });
    let table = Table::new().set_schema(TableSchema::new().set_fields(dataset.columns.iter().map(field).chain(own)));
    match &dataset.partition {
        Some(column) => table.set_time_partitioning(TimePartitioning::new().set_type("DAY").set_field(column.as_str())),
        None => table,
    }
}

/// The label of a target whose rows a mend has replaced, with the time of that in milliseconds since 1970-01-01 UTC.
pub(super) const MADE: &str = "tradefold_made_ms";

/// When a table was made, in milliseconds since 1970-01-01 UTC. One whose rows a mend has replaced is another one since
/// then: what jobs before it say of theirs is not true of it.
pub(super) fn made_ms(table: &Table) -> i64 {
    table.labels.get(MADE).and_then(|ms| ms.parse().ok()).unwrap_or(table.creation_time)
}

/// A table with the contract's columns, in the order and with the descriptions and policies of another one's, and laid
/// out as that.
pub(super) fn like(dataset: &Dataset, other: &Table) -> Table {
    let known = other.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default();
    let place = |name: &str| known.iter().position(|field| field.name.eq_ignore_ascii_case(name));
    let mut fields: Vec<TableFieldSchema> = dataset.columns.iter().map(field).collect();
    for field in &mut fields {
        let Some(old) = place(&field.name).and_then(|at| known.get(at)) else { continue };
        field.description = old.description.clone().or(field.description.take());
        field.default_value_expression.clone_from(&old.default_value_expression);
        if old.mode == "REQUIRED" {
            field.mode.clone_from(&old.mode);
        }
        field.policy_tags.clone_from(&old.policy_tags);
        field.data_policies.clone_from(&old.data_policies);
    }
    fields.sort_by_key(|field| place(&field.name).unwrap_or(known.len()));
    let mut table = Table::new().set_schema(TableSchema::new().set_fields(fields));
    table.description.clone_from(&other.description);
    table.time_partitioning.clone_from(&other.time_partitioning);
    table.require_partition_filter.clone_from(&other.require_partition_filter);
    table.clustering.clone_from(&other.clustering);
    table.table_constraints.clone_from(&other.table_constraints);
    table.encryption_configuration.clone_from(&other.encryption_configuration);
    table
}

/// The columns of a table that the contract has not.
pub(super) fn others(dataset: &Dataset, table: &Table) -> Vec<String> {
    let fields = table.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default();
    let is_ours = |name: &str| dataset.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    fields.iter().filter(|field| !is_ours(&field.name)).map(|field| field.name.clone()).collect()
}

/// The target as it is made.
pub(super) fn target(dataset: &Dataset, layout: Layout) -> Table {
    let mut table = Table::new().set_schema(schema(dataset));
    if !dataset.description.is_empty() {
        table = table.set_description(&*dataset.description);
    }
    if let Some(column) = dataset.partition.as_ref().filter(|_| !layout.is_unpartitioned) {
        table = table
            .set_time_partitioning(TimePartitioning::new().set_type("DAY").set_field(column.as_str()))
            .set_require_partition_filter(layout.requires_partition_filter);
    }
    let cluster: Vec<&str> = dataset.cluster.iter().take(CLUSTER_MAX).map(String::as_str).collect();
    if !cluster.is_empty() {
        table = table.set_clustering(Clustering::new().set_fields(cluster));
    }
    table
}

/// The statement that makes the target, for whoever makes tables elsewhere.
///
/// # Errors
/// Usage, for a name that can't be quoted.
pub fn ddl(dataset: &Dataset, place: &Place, layout: Layout) -> Result<String> {
    let exprs = Exprs { dataset, dialect: Dialect::GoogleSql };
    let options = |description: &str| match description.is_empty() {
        true => String::new(),
        false => format!(" OPTIONS (description = {})", Dialect::GoogleSql.text(description)),
    };
    let columns = dataset.columns.iter().map(|column| {
        let name = exprs.column("", &column.name)?;
        Ok(format!("  {name} {}{}", column.kind.googlesql(), options(&column.description)))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?.join(",\n");
    let name = Dialect::GoogleSql.quote_path([place.project.as_str(), &place.dataset, &dataset.name])?;
    let mut text = format!("CREATE TABLE IF NOT EXISTS {name} (\n{columns}\n)");
    let partition = dataset.partition.as_ref().filter(|_| !layout.is_unpartitioned);
    if let Some(column) = partition {
        let is_date = dataset.column(column).is_some_and(|column| column.kind == ColumnType::Date);
        let column = exprs.column("", column)?;
        let day = if is_date { column } else { format!("TIMESTAMP_TRUNC({column}, DAY)") };
        text.push_str(&format!("\nPARTITION BY {day}"));
    }
    if !dataset.cluster.is_empty() {
        let cluster = dataset.cluster.iter().take(CLUSTER_MAX).map(String::as_str);
        text.push_str(&format!("\nCLUSTER BY {}", exprs.columns("", cluster)?));
    }
    let mut settings = Vec::new();
    if !dataset.description.is_empty() {
        settings.push(format!("description = {}", Dialect::GoogleSql.text(&dataset.description)));
    }
    if partition.is_some() && layout.requires_partition_filter {
        settings.push("require_partition_filter = TRUE".to_string());
    }
    if !settings.is_empty() {
        text.push_str(&format!("\nOPTIONS ({})", settings.join(", ")));
    }
    Ok(text)
}

/// The statement that adds those of the contract's columns which are missing to a table, whose name is quoted already.
/// Run twice, it changes nothing the second time.
///
/// # Errors
/// Usage, for a name that can't be quoted.
pub fn addition(table: &str, dataset: &Dataset, missing: &[&str]) -> Result<String> {
    let columns = dataset.columns.iter().filter(|column| missing.contains(&column.name.as_str()));
    let clauses = columns.map(|column| {
        let name = Dialect::GoogleSql.quote(&column.name)?;
        Ok(format!("ADD COLUMN IF NOT EXISTS {name} {}", column.kind.googlesql()))
    });
    Ok(format!("ALTER TABLE {table} {}", clauses.collect::<Result<Vec<_>>>()?.join(", ")))
}

/// What an existing table has that does not fit the contract.
#[derive(Debug, Default)]
pub(super) struct Misfits {
    /// What can't be helped, a clause for each.
    pub(super) wrong: Vec<String>,
    /// Columns that could be added.
    pub(super) missing: Vec<String>,
}

/// Compares a table with the contract, column by column.
pub(super) fn misfits(dataset: &Dataset, table: &Table) -> Misfits {
    let mut found = Misfits::default();
    if !table.r#type.is_empty() && table.r#type != "TABLE" {
        found.wrong.push(format!("it is a {} and no table of BigQuery's own", table.r#type));
    }
    let of_partitions = table.time_partitioning.as_ref().and_then(|time| time.expiration_ms);
    if table.expiration_time.is_some() || of_partitions.is_some_and(|expiration_ms| expiration_ms > 0) {
        let what = if table.expiration_time.is_some() { "the table" } else { "each partition" };
        found.wrong.push(format!("{what} expires, by its own setting or its dataset's, and rows would be lost"));
    }
    let fields = table.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default();
    for column in &dataset.columns {
        // BigQuery does not tell names of columns apart by case.
        match fields.iter().find(|field| field.name.eq_ignore_ascii_case(&column.name)) {
            Some(other) => found.wrong.extend(unlike(dataset, column, other)),
            None => found.missing.push(column.name.clone()),
        }
    }
    let is_ours =
        |field: &&TableFieldSchema| dataset.columns.iter().any(|column| column.name.eq_ignore_ascii_case(&field.name));
    for field in fields.iter().filter(|field| !is_ours(field) && field.mode == "REQUIRED") {
        if field.default_value_expression.is_none() {
            found.wrong.push(format!("`{}` is REQUIRED and not in the contract, so no row could go in", field.name));
        }
    }
    found.wrong.extend(misplaced(dataset, table));
    found
}

/// How a column of the table differs from that of the contract.
fn unlike(dataset: &Dataset, column: &Column, other: &TableFieldSchema) -> Vec<String> {
    let mut wrong = Vec::new();
    let plain = match other.r#type.as_str() {
        "INT64" => "INTEGER",
        "FLOAT64" => "FLOAT",
        "BOOL" => "BOOLEAN",
        plain => plain,
    };
    if plain != type_of(column.kind) {
        wrong.push(format!("`{}` is {} and should be {}", column.name, other.r#type, type_of(column.kind)));
    }
    if other.mode == "REPEATED" {
        wrong.push(format!("`{}` is REPEATED and should hold one value", column.name));
    }
    // Landing lets no row without it pass.
    let is_never_null = dataset.partition.as_deref() == Some(&column.name)
        || dataset.key.iter().any(|part| part.column == column.name && part.stand_ins.is_empty());
    if other.mode == "REQUIRED" && !is_never_null {
        wrong.push(format!("`{}` is REQUIRED, and the contract allows NULL", column.name));
    }
    if let Some(collation) = other.collation.as_ref().filter(|collation| !collation.is_empty()) {
        wrong.push(format!("`{}` has the collation {collation}, under which different texts are equal", column.name));
    }
    wrong
}

/// How the table's partitions differ from those of the contract. None at all fit: a merge filters by day all the same.
fn misplaced(dataset: &Dataset, table: &Table) -> Option<String> {
    if table.range_partitioning.is_some() {
        return Some("it is partitioned by ranges of integers".into());
    }
    let time = table.time_partitioning.as_ref()?;
    let by = time.field.as_ref().map_or("the time of ingestion", |field| field.as_str());
    let fits = time.r#type == "DAY" && dataset.partition.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(by));
    let wanted = match &dataset.partition {
        Some(column) => format!("by DAY on {column}, or not at all"),
        None => "not at all".into(),
    };
    (!fits).then(|| format!("it is partitioned by {} on {by}, and should be {wanted}", time.r#type))
}
