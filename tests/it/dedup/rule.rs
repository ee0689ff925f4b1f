//! The rule itself, against tables written by hand from its definitions.

use crate::rows::{row, text, trades};
use tradefold::dataset::Dataset;
use tradefold::dedup::Class::{Conflict, Exact, Superseded};
use tradefold::dedup::rule::Fate::{self, Loser, Winner};
use tradefold::dedup::rule::{Row, Value, fates, survivors, suspects};

/// A trade of one key with what is said of it besides.
fn trade(said: &[(&str, Value)]) -> Row {
    let key = [("wallet_address", text("0xa")), ("tx_hash", text("0x1")), ("timestamp", Value::Int(1_000_000))];
    row(&trades(), &[&key[..], said].concat())
}

fn int(name: &str, value: i64) -> (&str, Value) {
    (name, Value::Int(value))
}

#[track_caller]
fn check(rows: &[(&[(&str, Value)], Fate)]) {
    let table: Vec<Row> = rows.iter().map(|(said, _)| trade(said)).collect();
    let expected: Vec<Fate> = rows.iter().map(|(_, fate)| *fate).collect();
    assert_eq!(fates(&trades(), &table), expected);
}

#[test]
fn a_row_alone_wins() {
    check(&[(&[], Winner)]);
}

#[test]
fn an_equal_row_is_exact() {
    check(&[(&[("title", text("t"))], Winner), (&[("title", text("t"))], Loser(Exact))]);
}

#[test]
fn volatile_values_do_not_count() {
    check(&[
        (&[("source_run", text("a")), int("fetched_at", 1)], Winner),
        (&[("source_run", text("b")), int("fetched_at", 2)], Loser(Exact)),
    ]);
}

#[test]
fn a_row_that_is_lower_in_the_declared_order_is_superseded() {
    check(&[(&[int("timestamp", 1)], Loser(Superseded)), (&[int("timestamp", 2)], Winner)]);
    // The first column of the order decides before the second, the second before the third.
    check(&[(&[int("timestamp", 1), int("log_index", 9)], Loser(Superseded)), (&[int("timestamp", 2)], Winner)]);
    check(&[(&[int("log_index", 1), ("id", text("z"))], Loser(Superseded)), (&[int("log_index", 2)], Winner)]);
    check(&[(&[("id", text("a"))], Loser(Superseded)), (&[("id", text("b"))], Winner)]);
}

#[test]
fn null_is_last_in_the_order_and_not_the_empty_text() {
    check(&[(&[], Loser(Superseded)), (&[int("log_index", 0)], Winner)]);
    check(&[(&[], Loser(Superseded)), (&[("id", text(""))], Winner)]);
}

#[test]
fn a_row_that_ties_and_differs_is_a_conflict_and_the_greatest_rest_wins() {
    let price = |price| ("price", Value::Float(price));
    check(&[(&[price(0.1)], Loser(Conflict)), (&[price(0.2)], Winner), (&[], Loser(Conflict))]);
    // The rest decides in the order of the contract: title is before price.
    check(&[(&[("title", text("a")), price(0.9)], Loser(Conflict)), (&[("title", text("b")), price(0.1)], Winner)]);
}

#[test]
fn every_class_is_against_the_winner_and_not_the_next_row() {
    check(&[
        (&[int("log_index", 2)], Winner),
        (&[int("log_index", 1), ("title", text("t"))], Loser(Superseded)),
        // Equal to the row before it, which is no winner.
        (&[int("log_index", 1), ("title", text("t"))], Loser(Superseded)),
    ]);
}

#[test]
fn null_and_the_empty_text_are_one_order_hash_in_the_key() {
    check(&[
        (&[], Loser(Conflict)),
        (&[("order_hash", text(""))], Winner),
        (&[("order_hash", text("0x9"))], Winner),
        (&[("order_hash", text("0x9"))], Loser(Exact)),
    ]);
}

#[test]
fn a_column_may_stand_in() {
    let dataset = keyed("COALESCE(order_hash, id, '')");
    let rows =
        [trade(&[("order_hash", text("x"))]), trade(&[("id", text("x"))]), trade(&[("id", text(""))]), trade(&[])];
    // Of the two keys, `x` and the empty one, the rows that know their id win.
    assert_eq!(fates(&dataset, &rows), [Loser(Superseded), Winner, Winner, Loser(Superseded)]);
    assert_eq!(survivors(&dataset, &rows), rows[1..3]);
}

#[test]
fn a_null_without_a_stand_in_is_a_value_of_its_own() {
    let dataset = keyed("order_hash");
    let rows = [trade(&[]), trade(&[]), trade(&[("order_hash", text(""))])];
    assert_eq!(fates(&dataset, &rows), [Winner, Loser(Exact), Winner]);
}

#[test]
fn two_known_values_of_an_identity_make_a_key_suspect() {
    let suspect = |rows: &[Row]| suspects(&trades(), rows);
    let log = |log| trade(&[int("log_index", log)]);
    assert_eq!(suspect(&[log(1), trade(&[]), log(2)]), [vec![0, 1, 2]]);
    assert!(suspect(&[log(1), trade(&[]), log(1)]).is_empty(), "NULL is not known");
    // Ingesters invent ids where there is an order hash, so there they number nothing.
    let id = |order_hash: Option<&str>, id| {
        let hash = order_hash.map_or(Value::Null, text);
        trade(&[("order_hash", hash), ("id", text(id))])
    };
    assert!(suspect(&[id(Some("0x9"), "a"), id(Some("0x9"), "b")]).is_empty());
    assert!(suspect(&[id(Some(""), "a"), id(None, "b")]).is_empty(), "an empty order hash is not NULL");
    assert_eq!(suspect(&[id(None, "a"), id(None, "b")]), [vec![0, 1]]);
}

/// `trades` with another last part of the key.
fn keyed(last: &str) -> Dataset {
    let key = format!("wallet_address, tx_hash, {last}");
    trades().with_key(tradefold::dataset::parse_key(&key).unwrap()).unwrap()
}
