//! What is rendered is what is reviewed: every statement in a snapshot, and nothing gets past the quoting.

mod sent;

use crate::rows::{engine, odd, runtime, trades};
use insta::assert_snapshot;
use std::collections::BTreeSet;
use tradefold::dataset::{ColumnType, Dataset, StandIn, parse_key, parse_order};
use tradefold::error::Kind;
use tradefold::landing::{LandingOptions, SourceColumn, SourceType, in_sql};
use tradefold::sql::{Dialect, Losers, Quarantine, Reduction, Which, dedup, merge_bigquery, render};
use tradefold::warehouse::Statements;
use tradefold::window::{Day, Window};

const BOTH: [Dialect; 2] = [Dialect::DataFusion, Dialect::GoogleSql];

fn days() -> BTreeSet<Day> {
    (20_366..20_369).map(Day).collect()
}

#[test]
fn dedup_in_both_engines() {
    assert_snapshot!("dedup_datafusion", dedup(&trades(), Dialect::DataFusion, "\"landed\"").unwrap());
    assert_snapshot!("dedup_googlesql", dedup(&trades(), Dialect::GoogleSql, "`p.d.staged`").unwrap());
    assert_snapshot!("dedup_odd_datafusion", dedup(&odd(), Dialect::DataFusion, "\"landed\"").unwrap());
    assert_snapshot!("dedup_odd_googlesql", dedup(&odd(), Dialect::GoogleSql, "`p.d.staged`").unwrap());
}

#[test]
fn merge_into_bigquery() {
    let merge = |dataset| merge_bigquery(&dataset, "`p`.`d`.`trades`", "`p`.`d`.`staged`", &days()).unwrap();
    assert_snapshot!("merge_partitioned", merge(trades()));
    let mut immutable = trades();
    immutable.immutable = true;
    assert_snapshot!("merge_immutable", merge(immutable));
    assert_snapshot!("merge_without_partition", merge(odd()));
}

#[test]
fn landing_and_dedup_where_a_table_lies() {
    let dataset = trades();
    let kind = |kind| match kind {
        ColumnType::Int64 => SourceType::Int,
        ColumnType::Float64 => SourceType::Float,
        ColumnType::Timestamp => SourceType::Timestamp,
        _ => SourceType::Text,
    };
    let column = |name: &str, kind| SourceColumn { name: name.into(), kind };
    let mut table: Vec<_> = dataset.columns.iter().map(|own| column(&own.name, kind(own.kind))).collect();
    table.retain(|own| own.name != "taker");
    table.push(column("user", SourceType::Text));
    let options = LandingOptions { window: Window::new(0, 1_000_000), ..LandingOptions::new(0) };
    let sql = in_sql(&dataset, &options, &table).unwrap().unwrap();
    assert_snapshot!("landing_counts", sql.counts("`p`.`d`.`source`").unwrap());
    assert_snapshot!("rejected", sql.rejected("`p`.`d`.`source`").unwrap());
    let reduction = Reduction { dataset: &dataset };
    assert_snapshot!("reduced", reduction.insert("`p`.`d`.`reduced`", "SELECT 1", Losers::default()).unwrap());
    let without = Quarantine { suspects: true, ..Quarantine::default() };
    let part = reduction.rows("`p`.`d`.`reduced`", Which::Winners, Some(&days()), without).unwrap();
    let all =
        [reduction.counts("`p`.`d`.`reduced`").unwrap(), reduction.loser_days("`p`.`d`.`reduced`").unwrap(), part];
    assert_snapshot!("of_reduced", all.join(";\n\n"));
}

#[test]
fn values_in_both_engines() {
    let values = |dataset: &Dataset, dialect, target, column, equals| {
        let (staged, witnesses, day) = (target, target, None);
        Statements { dataset, dialect, target, staged, witnesses, day }.values(column, equals)
    };
    let here = |column, equals| values(&odd(), Dialect::DataFusion, "target", column, equals).unwrap();
    let there = |column, equals| values(&trades(), Dialect::GoogleSql, "`p`.`d`.`trades`", column, equals).unwrap();
    let all = [here("first", Some(("open", "true"))), here("rank", None)];
    assert_snapshot!("values_datafusion", all.join(";\n\n"));
    let all = [there("condition_id", None), there("shares", Some(("title", "it's")))];
    assert_snapshot!("values_googlesql", all.join(";\n\n"));
    for (column, equals) in [("First", None), ("first", Some(("nope", "")))] {
        let refused = values(&odd(), Dialect::DataFusion, "target", column, equals).unwrap_err();
        assert_eq!(refused.kind(), Kind::Bug, "{column}");
    }
}

#[test]
fn rows_by_day_name_the_days_in_both_engines() {
    let by_day = |dialect, target, day| {
        let (dataset, staged, witnesses) = (&trades(), target, target);
        Statements { dataset, dialect, target, staged, witnesses, day }.rows_by_day(Day(20_366)).unwrap()
    };
    assert_snapshot!(by_day(Dialect::DataFusion, "target", Some("_day")), @r#"
    SELECT "_day" AS _day, COUNT(*) AS _rows
    FROM target
    WHERE "_day" >= DATE '2025-10-05'
    GROUP BY 1
    "#);
    assert_snapshot!(by_day(Dialect::GoogleSql, "`p`.`d`.`trades`", None), @"
    SELECT CAST(`timestamp` AS DATE) AS _day, COUNT(*) AS _rows
    FROM `p`.`d`.`trades`
    WHERE CAST(`timestamp` AS DATE) >= DATE '2025-10-05'
    GROUP BY 1
    ");
}

#[test]
fn a_merge_over_no_days_touches_nothing() {
    let sql = merge_bigquery(&trades(), "`t`", "`s`", &BTreeSet::new()).unwrap();
    assert!(sql.contains("WHERE FALSE") && sql.contains("AND FALSE"), "{sql}");
}

#[test]
fn identifiers_are_quoted_and_wild_ones_refused() {
    assert_eq!(Dialect::DataFusion.quote("Ünï-code x").unwrap(), "\"Ünï-code x\"");
    assert_eq!(Dialect::GoogleSql.quote("order").unwrap(), "`order`");
    assert_eq!(Dialect::GoogleSql.quote_path(["p-1", "d", "t"]).unwrap(), "`p-1`.`d`.`t`");
    assert_eq!(Dialect::GoogleSql.quote_path(["p", "d", "t`; DROP TABLE x"]).unwrap_err().kind(), Kind::Usage);
    assert!(Dialect::DataFusion.quote("a\"b").is_err());
    for dialect in BOTH {
        for wild in ["", "a\\b", "a\nb", "a\0b", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(dialect.quote(wild).unwrap_err().kind(), Kind::Usage, "{wild:?} in {dialect:?}");
        }
    }
}

#[test]
fn texts_are_escaped() {
    assert_eq!(Dialect::DataFusion.text("it's \\n"), "'it''s \\n'");
    assert_eq!(Dialect::GoogleSql.text("it's \\n"), "'it\\'s \\\\n'");
    // GoogleSQL has no line break in a text of one line, and a control character is better seen than not.
    assert_eq!(Dialect::GoogleSql.text("a\nb\u{1}"), "'a\\u000ab\\u0001'");
}

#[test]
fn a_text_comes_back_from_datafusion_as_it_went_in() {
    let (engine, runtime) = (engine(1), runtime());
    for text in ["", "it's", "\\", "\\'", "a\nb", "\"", "`", "-- no comment", "{{slot}}", "ß 🦀"] {
        let sql = format!("SELECT {} AS t", Dialect::DataFusion.text(text));
        let answer = runtime.block_on(engine.collect(&sql)).unwrap();
        let column = arrow::compute::cast(answer[0].column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        assert_eq!(arrow::array::AsArray::as_string::<i32>(&column).value(0), text);
    }
}

#[test]
fn rendering_fills_every_slot_and_uses_every_value() {
    assert_eq!(render("-- Purpose.\n-- More.\nSELECT {{a}}, {{a}}\n", &[("a", "1")]).unwrap(), "SELECT 1, 1");
    assert_eq!(render("{{a}}", &[("a", "{{b}}")]).unwrap(), "{{b}}", "a value is no template");
    for (template, values) in [("a {{x}}", &[][..]), ("a", &[("x", "1")]), ("a {{x", &[("x", "1")])] {
        assert_eq!(render(template, values).unwrap_err().kind(), Kind::Bug, "{template}");
    }
}

/// A key as the contract prints it, or its refusal.
fn key(text: &str) -> Option<String> {
    Some(parse_key(text).ok()?.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn order(text: &str) -> Option<String> {
    Some(parse_order(text).ok()?.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[test]
fn keys_are_columns_with_stand_ins() {
    for (text, parsed) in [
        ("wallet, tx", "wallet; tx"),
        ("`from`", "from"),
        ("coalesce(a, b, c, '')", "COALESCE(a, b, c, '')"),
        ("COALESCE(a, \"x\")", "COALESCE(a, 'x')"),
        ("a, COALESCE(b, 'it\\'s'), c", "a; COALESCE(b, 'it''s'); c"),
    ] {
        assert_eq!(key(text).as_deref(), Some(parsed), "{text}");
    }
    let parts = parse_key("COALESCE(a, b, ')\\\\,')").unwrap();
    assert_eq!(parts[0].stand_ins, [StandIn::Column("b".into()), StandIn::Text(")\\,".into())]);
    assert_eq!(parts[0].columns().collect::<Vec<_>>(), ["a", "b"]);
    for text in [
        "",
        "a,",
        "a b",
        "a; b",
        "1",
        "'a'",
        "a || b",
        "t.a",
        "LOWER(a)",
        "COALESCE()",
        "COALESCE(a)",
        "COALESCE('x', a)",
        "COALESCE(a, 1)",
        "COALESCE(a, NULL)",
        "COALESCE(a, LOWER(b))",
        "COALESCE(DISTINCT a, 'x')",
        "COALESCE(a, 'x') OVER ()",
        "COALESCE(a, 'x' ORDER BY a)",
        "COALESCE(a, 'x') FILTER (WHERE a = 'b')",
    ] {
        assert_eq!(key(text), None, "{text}");
    }
}

#[test]
fn orders_are_columns_with_directions() {
    for (text, parsed) in [
        ("ts DESC NULLS FIRST, n ASC NULLS LAST", "ts DESC NULLS FIRST; n ASC NULLS LAST"),
        // NULL is the least value, as in GoogleSQL: first where small is good, last where great is.
        ("ts", "ts ASC NULLS FIRST"),
        ("ts ASC", "ts ASC NULLS FIRST"),
        ("ts DESC", "ts DESC NULLS LAST"),
    ] {
        assert_eq!(order(text).as_deref(), Some(parsed), "{text}");
    }
    for text in ["", "1", "ts +", "-ts", "LOWER(ts)", "a.ts", "ts DESC LIMIT 1", "ts COLLATE x", "COALESCE(a, b)"] {
        assert_eq!(order(text), None, "{text}");
    }
}
