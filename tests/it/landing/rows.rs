//! What becomes of a row: its types, the reasons to set it aside, the way back in, the window, the account.

use super::*;

#[tokio::test]
async fn every_value_gets_its_type() -> Result {
    for (given, column, expected) in [
        (
            "\"o\":115792089237316195423570985008687907853269984665640564039457",
            "o",
            "\"115792089237316195423570985008687907853269984665640564039457\"",
        ),
        ("\"f\":-0.0", "f", "0.0"),
        ("\"b\":\"True\"", "b", "true"),
        ("\"d\":\"2024-02-29\"", "d", "\"2024-02-29\""),
        ("\"ts\":1760000000.25", "ts", "\"2025-10-09T08:53:20.250Z\""),
        ("\"t\":\"2025-01-01 00:00:00+00\"", "t", "\"2025-01-01T00:00:00Z\""),
        ("\"z\":\"2025-01-01T00:00:00\"", "z", "\"2024-12-31T22:00:00Z\""),
        ("\"j\":{ \"b\" : [1, 2.50], \"a\": \"\\u0041\" }", "j", "\"{\\\"a\\\":\\\"A\\\",\\\"b\\\":[1,2.50]}\""),
        ("\"j\":\"[ 1 ]\"", "j", "\"[1]\""),
        ("\"k\":null,\"user\":\"0xFF\"", "k", "\"0xff\""),
    ] {
        let (_case, landed) = land_one("a.ndjson", line(&format!(",{given}"))).await?;
        assert_eq!(landed.rejects_by_reason.len(), 0, "{given}: {:?}", landed.rejects_by_reason);
        assert_eq!(rows(&landed)?[0][column], serde_json::from_str::<Value>(expected)?, "{given}");
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_cannot_be_used_are_set_aside_with_their_reason() -> Result {
    for (row, column, reason) in [
        (line(",\"k\":null"), "k", "NULL in a key column"),
        (line(",\"o\":null"), "o", "NULL in a key column"),
        (line(",\"ts\":null"), "ts", "no order value"),
        (line(",\"ts\":1760000000000"), "ts", "a time in the future: +57742-03-07T08:53:20Z"),
        (line(",\"ts\":\"2025-12-02T00:00:01Z\""), "ts", "a time in the future: 2025-12-02T00:00:01Z"),
        (line(",\"ts\":1"), "ts", "below the minimum: 1"),
        (line(",\"ts\":\"\""), "ts", "not a time: \"\""),
        (line(",\"ts\":\"2025-10-09 08:53:20\""), "ts", "a time without a zone: \"2025-10-09 08:53:20\""),
        (line(",\"t\":5"), "t", "a bare number for a time without a unit: 5"),
        (line(",\"t\":\"2025-02-30T00:00:00Z\""), "t", "not a time: \"2025-02-30T00:00:00Z\""),
        (line(",\"n\":101"), "n", "above the maximum: 101"),
        (line(",\"n\":1.5"), "n", "not a whole number: 1.5"),
        (line(",\"n\":99999999999999999999"), "n", "too large for a 64-bit integer: 99999999999999999999"),
        (line(",\"n\":\"\""), "n", "not a number: \"\""),
        (line(",\"f\":\"NaN\""), "f", "not a finite number: \"NaN\""),
        (line(",\"f\":\"-inf\""), "f", "not a finite number: \"-inf\""),
        (line(",\"f\":true"), "f", "not a number: true"),
        (line(",\"b\":1"), "b", "not true or false: 1"),
        (line(",\"d\":\"2024-2-3\""), "d", "not a date: \"2024-2-3\""),
        (line(",\"o\":1.0"), "o", "not text: 1.0"),
        (line(",\"i\":{}"), "i", "not text: {}"),
        (line(",\"j\":\"{\""), "j", "not JSON: \"{\""),
        ("[1]\n".into(), "", "not an object"),
    ] {
        let (case, landed) = land_one("a.ndjson", line("") + &row).await?;
        let rejects = case.rejects()?;
        let file = case.dir.path().join("in/a.ndjson").display().to_string();
        let column = if column.is_empty() { Value::Null } else { column.into() };
        let expected = serde_json::json!({
            "rejected": {"file": file, "row": 2, "column": column, "reason": reason},
            "row": serde_json::from_str::<Value>(&row)?,
        });
        assert_eq!(rejects, [expected]);
        assert_eq!((landed.counts.read, landed.counts.landed, landed.counts.rejected), (2, 1, 1));
        assert!(landed.rejects.iter().any(|url| url.ends_with("/out/rejects.ndjson")));
    }
    Ok(())
}

#[tokio::test]
async fn lines_and_csv_rows_that_do_not_parse_are_set_aside_as_they_stood() -> Result {
    let (case, _) = land_one("a.ndjson", format!("{}not {{json\n{}", line(""), line(""))).await?;
    let reject = &case.rejects()?[0];
    assert_eq!((reject["row"].as_str(), &reject["rejected"]["row"]), (Some("not {json"), &Value::from(2)));
    let (case, landed) = land_one("a.csv", format!("k,o,ts\na,\"\",{TS}\na,,{TS}\na,b\na,\"b\"c,{TS}\n")).await?;
    let found = case.rejects()?.iter().map(|r| (r["rejected"]["reason"].clone(), r["row"].clone())).collect::<Vec<_>>();
    let expected = [
        ("NULL in a key column".into(), serde_json::json!({"k": "a", "o": null, "ts": TS.to_string()})),
        ("wrong number of fields: 2 instead of 3".into(), serde_json::json!(["a", "b"])),
        ("text after a closing quote".into(), Value::from(format!("a,\"b\"c,{TS}"))),
    ];
    assert_eq!(found, expected);
    assert_eq!(rows(&landed)?[0]["o"], "");
    Ok(())
}

#[tokio::test]
async fn rejects_can_be_mended_and_fed_back_in() -> Result {
    let bad = line(",\"n\":101,\"extra\":1") + "oops\n";
    let (case, _) = land_one("a.ndjson", line("") + &bad).await?;
    let rejects = std::fs::read_to_string(case.dir.path().join("out/rejects.ndjson"))?;
    let (again, landed) = land_one("rejects.ndjson", rejects.clone()).await?;
    assert_eq!(landed.counts.rejected, 2, "what is not mended is set aside again");
    let rows_of = |case: &Case| case.rejects().map(|all| all.iter().map(|r| r["row"].clone()).collect::<Vec<_>>());
    assert_eq!(rows_of(&case)?, rows_of(&again)?, "and as it first stood");
    let (_case, landed) = land_one("rejects.ndjson", rejects.replace("101", "100")).await?;
    assert_eq!((landed.counts.landed, landed.counts.rejected), (1, 1));
    assert_eq!(rows(&landed)?[0]["n"], 100);
    assert_eq!(landed.inputs[0].left_out.get("extra"), Some(&1));
    Ok(())
}

#[tokio::test]
async fn r1_every_row_is_counted_and_the_window_is_half_open() -> Result {
    let at = |time: &str| line(&format!(",\"ts\":\"{time}\""));
    let lines = at("2025-09-30T23:59:59.999999Z")
        + &at("2025-10-01T00:00:00Z")
        + &at("2025-10-02T00:00:00Z")
        + &at("2099-01-01T00:00:00Z");
    let mut case = Case::new(&[("a.ndjson", lines.into()), ("b.ndjson", line("").into())])?;
    case.options.window = Window::new(parse_us("2025-10-01")?, parse_us("2025-10-02")?);
    let landed = case.land("out").await?;
    let counts = |index: usize| {
        let counts = landed.inputs[index].counts;
        (counts.read, counts.landed, counts.rejected, counts.outside)
    };
    assert_eq!((counts(0), counts(1)), ((4, 1, 1, 2), (1, 0, 0, 1)));
    assert_eq!(landed.rejects_by_reason.get("ts: a time in the future"), Some(&1));
    landed.check()?;
    let mut leaking = landed.clone();
    leaking.inputs[0].counts.outside = 1;
    let error = leaking.check().err().ok_or("it balances")?;
    assert!(error.kind() == Kind::Data && error.render().contains("a.ndjson"), "{}", error.render());
    Ok(())
}
