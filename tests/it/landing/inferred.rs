//! Landing without a contract: which type a column gets, and that no two values become one.

use super::{Result, gzip, rows};
use arrow::datatypes::Schema;
use serde_json::json;
use tempfile::TempDir;
use tradefold::error::Kind;
use tradefold::landing::{Inferred, Texts, columns_at_first_sight, land_inferred};
use tradefold::progress::Silent;
use tradefold::source::discover;
use tradefold::storage::Folder;

async fn land(files: &[(&str, &[u8])]) -> Result<(TempDir, tradefold::error::Result<Inferred>)> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("in"))?;
    for (name, bytes) in files {
        std::fs::write(dir.path().join("in").join(name), bytes)?;
    }
    let inputs = discover(&[dir.path().join("in").display().to_string()], &[]).await?;
    let into = Folder::open(&dir.path().join("out").display().to_string(), &[])?;
    let key = ["id".to_string()];
    let side = Texts { inputs: &inputs, given: Schema::empty(), into: &into };
    let inferred = land_inferred(&[side], &key, &Silent).await;
    Ok((dir, inferred.map(|mut sides| sides.remove(0))))
}

/// The types of the columns, as `name type`.
fn types(inferred: &Inferred) -> Vec<String> {
    let column = |field: &arrow::datatypes::FieldRef| format!("{} {}", field.name(), field.data_type());
    inferred.schema.fields().iter().map(column).collect()
}

/// The type that a column of CSV with these fields gets.
async fn of_fields(fields: &[&str]) -> Result<String> {
    let (_dir, inferred) = land(&[("a.csv", format!("x\n{}\n", fields.join("\n")).as_bytes())]).await?;
    let inferred = inferred?;
    assert_eq!(inferred.landed.counts.landed, fields.len() as u64, "{fields:?}");
    Ok(types(&inferred).remove(0))
}

/// The same of NDJSON, whose values are given as JSON.
async fn of_values(values: &[&str]) -> Result<String> {
    let lines: String = values.iter().map(|value| format!("{{\"x\":{value}}}\n")).collect();
    let (_dir, inferred) = land(&[("a.ndjson", lines.as_bytes())]).await?;
    Ok(types(&inferred?).remove(0))
}

#[tokio::test]
async fn a_column_has_a_type_only_where_every_value_could_be_written_back() -> Result {
    for (fields, expected) in [
        (&["1", "-2", "9223372036854775807"][..], "Int64"),
        (&["9007199254740993", "9007199254740992"], "Int64"),
        (&["1", "9223372036854775808"], "Utf8"),
        (&["1", "007"], "Utf8"),
        (&["1", "+1"], "Utf8"),
        (&["0", "-0"], "Utf8"),
        (&["1", "1e3"], "Utf8"),
        (&["1", "x"], "Utf8"),
        (&["1", "\"\""], "Utf8"),
        (&["1", " 1"], "Utf8"),
        (&["0x10", "0x1f"], "Utf8"),
        (&["0.5", "1.25", "3"], "Float64"),
        (&["1.0", "2.5"], "Float64"),
        (&["1.50", "0.25", "2.00"], "Float64"),
        (&["0.5", "0.50"], "Utf8"),
        (&["1", "1.0"], "Utf8"),
        (&["0.1", "-0.0"], "Utf8"),
        (&["0.30000000000000004", "0.1"], "Float64"),
        (&["0.3000000000000000444", "0.1"], "Utf8"),
        (&["9007199254740993", "0.5"], "Utf8"),
        (&[".5", "0.25"], "Utf8"),
        (&["5.", "0.25"], "Utf8"),
        (&["NaN", "0.25"], "Utf8"),
        (&["true", "false"], "Boolean"),
        (&["true", "True"], "Utf8"),
        (&["true", "1"], "Utf8"),
        (&["2025-10-01", "1969-12-31"], "Date32"),
        (&["2025-10-01", "2025-02-30"], "Utf8"),
        (&["2025-10-01", "0000-01-01"], "Utf8"),
        (&["2025-10-01T00:00:00Z", "2025-10-01T00:00:01Z"], "Timestamp(µs, \"UTC\")"),
        (&["2025-10-01 00:00:00", "2025-10-01 00:00:01.25"], "Timestamp(µs)"),
        (&["2025-10-01T00:00:00+02:00", "2025-10-01T00:00:01+02:00"], "Timestamp(µs, \"UTC\")"),
        (&["2025-10-01T00:00:00+02:00", "2025-10-01T00:00:00Z"], "Utf8"),
        (&["2025-10-01T00:00:00Z", "2025-10-01 00:00:00Z"], "Utf8"),
        (&["2025-10-01T00:00:00Z", "2025-10-01T00:00:00.0Z"], "Utf8"),
        (&["2025-10-01T00:00:00.000000001Z"], "Utf8"),
        (&["2016-12-31T23:59:60Z"], "Utf8"),
        (&["2025-10-01T00:00:00Z", "2025-10-01"], "Utf8"),
    ] {
        assert_eq!(of_fields(fields).await?, format!("x {expected}"), "{fields:?}");
    }
    for (values, expected) in [
        (&["1", "2"][..], "Int64"),
        (&["1", "null"], "Int64"),
        (&["\"1\"", "\"2\""], "Utf8"),
        (&["true", "null"], "Boolean"),
        (&["null"], "Utf8"),
        (&["1", "\"1\""], "Utf8"),
        (&["1.0", "2.5"], "Float64"),
        (&["1", "1.0"], "Utf8"),
        (&["1e5", "2"], "Utf8"),
        (&["123456789012345678901234567890"], "Utf8"),
        (&["\"2025-10-01T00:00:00Z\""], "Timestamp(µs, \"UTC\")"),
        (&["{\"a\":1}", "[1]"], "Utf8"),
    ] {
        assert_eq!(of_values(values).await?, format!("x {expected}"), "{values:?}");
    }
    Ok(())
}

#[tokio::test]
async fn values_of_several_types_stay_apart_and_equal_ones_together() -> Result {
    let lines = br#"{"m":1,"n":{"b":[1.0],"a":"\u0041"}}
{"m":"1","n":{ "a":"A", "b":[1.0] }}
{"m":true,"n":{"a":"A","b":[1]}}
{"m":"true","n":null}
{"m":{"a":1}}
{"m":"{\"a\":1}"}
"#;
    let (_dir, inferred) = land(&[("a.ndjson", lines)]).await?;
    let found = rows(&inferred?.landed)?;
    let column = |name: &str| found.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    let texts = ["1", "\"1\"", "true", "\"true\"", "{\"a\":1}", "\"{\\\"a\\\":1}\""];
    assert_eq!(column("m"), texts.map(|text| json!(text)));
    let nested = r#"{"a":"A","b":[1.0]}"#;
    assert_eq!(column("n")[..4], [json!(nested), json!(nested), json!(r#"{"a":"A","b":[1]}"#), json!(null)]);
    Ok(())
}

#[tokio::test]
async fn a_last_row_that_is_another_thing_loses_nothing() -> Result {
    let mut text = String::from("id,note\n");
    (0..20_000).for_each(|row| text.push_str(&format!("{row},\n")));
    text.push_str("0007,late\n");
    let (_dir, inferred) = land(&[("a.csv.gz", &gzip(text.as_bytes())?)]).await?;
    let inferred = inferred?;
    assert_eq!(types(&inferred), ["id Utf8", "note Utf8"]);
    let found = rows(&inferred.landed)?;
    assert_eq!(found.len(), 20_001);
    let (first, last) = (&found[7], &found[20_000]);
    assert_eq!([&first["id"], &last["id"], &last["note"]], [&json!("7"), &json!("0007"), &json!("late")]);
    assert_eq!((&last["_source_row"], first.get("note")), (&json!(20_001), None));
    Ok(())
}

#[tokio::test]
async fn every_row_is_counted_and_names_that_sql_cannot_hold_are_kept() -> Result {
    let (dir, inferred) = land(&[
        ("a.csv", b"id,,we\"ird\n1,2,3\n1,2\n4,5,6\n"),
        ("b.json", br#"{"rows":[{"id":7},{"id":8},5],"next":"x"}"#),
        ("c.json", br#"{"rows":[],"next":null}"#),
        ("d.ndjson", b"{\"id\":9,\"we_ird\":1}\nnonsense\n"),
        ("e.csv", b""),
        ("f.ndjson", b"\n"),
        ("g.json", b""),
        ("h.csv", b"late\n"),
    ])
    .await?;
    let landed = inferred.as_ref().map_err(|error| error.render())?;
    assert_eq!(types(landed), ["id Int64", "unnamed Int64", "we_ird_ Int64", "we_ird Int64", "late Utf8"]);
    let counts = landed.landed.counts;
    assert_eq!((counts.read, counts.landed, counts.rejected, counts.outside), (8, 5, 3, 0));
    let read: Vec<u64> = landed.landed.inputs.iter().map(|input| input.counts.read).collect();
    assert_eq!(read, [3, 3, 0, 2, 0, 0, 0, 0]);
    let rejects = std::fs::read_to_string(dir.path().join("out/rejects.ndjson"))?;
    let places: Vec<u64> = rejects
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["rejected"]["row"].as_u64().unwrap())
        .collect();
    assert_eq!(places, [2, 3, 2], "{rejects}");
    assert!(rejects.contains("wrong number of fields: 2 instead of 3") && rejects.contains("\"row\":\"nonsense\""));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_leaves_nothing() -> Result {
    let deep = format!("{{\"id\":1,\"x\":{}1{}}}\n", "[".repeat(400), "]".repeat(400));
    let (_dir, inferred) = land(&[("a.ndjson", deep.as_bytes())]).await?;
    assert_eq!(inferred?.landed.counts.rejected, 1, "JSON that is nested too deep is no value");
    let names: String = (0..5_001).map(|number| format!("{{\"id\":1,\"n{number}\":1}}\n")).collect();
    for (name, bytes, kind, says) in [
        ("a.csv", b"id,id\n1,2\n".to_vec(), Kind::Usage, "column `id` is there twice"),
        ("a.csv", b"id\n\"1\n".to_vec(), Kind::Data, "a quoted field has no end"),
        ("a.ndjson", b"{\"id\":\"\xff\"}\n".to_vec(), Kind::Data, "must be UTF-8"),
        ("a.ndjson.gz", gzip(b"{\"id\":1}\n")?[..20].to_vec(), Kind::Data, "fetch the file again"),
        ("a.ndjson", names.into_bytes(), Kind::Usage, "more than 5000 different names"),
    ] {
        let (dir, inferred) = land(&[(name, &bytes)]).await?;
        let error = inferred.err().ok_or("it landed")?;
        assert_eq!(error.kind(), kind, "{}", error.render());
        assert!(error.render().contains(says), "{}", error.render());
        let out = dir.path().join("out");
        assert!(!out.exists() || std::fs::read_dir(out)?.next().is_none(), "something was left behind");
    }
    Ok(())
}

#[tokio::test]
async fn columns_are_seen_at_first_sight() -> Result {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("a.json"), r#"{"orders":[{"id":1,"at":"2025-10-01"}]}"#)?;
    let inputs = discover(&[dir.path().display().to_string()], &[]).await?;
    let envelope = ["orders".to_string()];
    let schema = columns_at_first_sight(&inputs[0], &envelope).await?;
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["id", "at"]);
    Ok(())
}
