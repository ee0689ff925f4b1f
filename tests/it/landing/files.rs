//! What becomes of a file: formats, damage, missing columns, landing by reference, many small pages, discovery.

use super::*;

#[tokio::test]
async fn every_format_lands_the_same_rows() -> Result {
    let lines = "{\"user\":\"0xAB\",\"o\":\"\",\"ts\":1760000000,\"n\":7.0,\"f\":3}\n\
                 {\"user\":\"0xcd\",\"o\":\"x\\\"y\",\"i\":9,\"ts\":\"2025-10-09T10:53:20.5+02:00\",\"n\":null,\"f\":\"0.5\"}\n";
    let object = lines.trim().replace('\n', ",");
    let csv = "user,o,i,ts,n,f\r\n0xAB,\"\",,1760000000,7,3\r\n0xcd,\"x\"\"y\",9,2025-10-09T08:53:20.5Z,,0.5\r\n";
    let (first, second) = lines.trim().split_once('\n').ok_or("two rows")?;
    let files: [(&str, Vec<u8>); 10] = [
        ("a.ndjson", lines.into()),
        ("a.jsonl.gz", gzip(lines.as_bytes())?),
        ("a.ndjson.zst", zstd::encode_all(lines.as_bytes(), 1)?),
        ("a.json", format!("{{\"orders\":[{object}],\"pagination\":{{\"total\":2}}}}").into()),
        ("b.json", format!("[{{\"orders\":[{object}]}}, {{\"orders\":[]}}]").into()),
        ("e.json", format!("{{\"more\":[{first}],\"orders\":[{second}]}}").into()),
        ("c.json.gz", gzip(format!(" [{object}] ").as_bytes())?),
        ("d.json", lines.replace('\n', "").into()),
        ("a.csv", csv.into()),
        ("a.csv.zst", zstd::encode_all(csv.as_bytes(), 1)?),
    ];
    for (name, bytes) in files {
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let size = bytes.len() as u64;
        let (case, landed) = land_one(name, bytes).await?;
        let source = case.dir.path().join("in").join(name).display().to_string();
        let expected = serde_json::json!([
            {"k": "0xab", "o": "", "ts": "2025-10-09T08:53:20Z", "n": 7, "f": 3.0, "_source": source, "_source_row": 1},
            {"k": "0xcd", "o": "x\"y", "i": "9", "ts": "2025-10-09T08:53:20.500Z", "f": 0.5, "_source": source, "_source_row": 2},
        ]);
        assert_eq!(Value::from(rows(&landed)?), expected, "{name}");
        assert_eq!((landed.counts.read, landed.counts.landed), (2, 2));
        assert_eq!((&landed.inputs[0].digest, landed.inputs[0].size_bytes), (&digest, size), "{name}");
        let file = std::fs::read(case.dir.path().join("out/landing-00001.parquet"))?;
        assert_eq!(landed.files[0].digest, blake3::hash(&file).to_hex().to_string());
        assert_eq!(landed.files[0].size_bytes, file.len() as u64);
    }
    Ok(())
}

#[tokio::test]
async fn a_broken_file_stops_the_landing_and_says_which() -> Result {
    let many: String = (0..20_000).map(|n| line(&format!(",\"i\":\"{}\"", n * 7919 % 65_537))).collect();
    let zipped = gzip(many.as_bytes())?;
    let packed = zstd::encode_all(many.as_bytes(), 1)?;
    let whole = parquet(vec![("k", text(&[Some("a")])), ("o", text(&[None])), ("ts", Arc::new(times(1)))])?;
    for (name, bytes, says) in [
        ("a.ndjson", many.as_bytes()[..many.len() - 9].to_vec(), "row `20000`"),
        ("a.ndjson", b"{\"k\":\"\xff\"}\n".to_vec(), "row `1`"),
        ("a.ndjson.gz", zipped[..zipped.len() / 2].to_vec(), "stored byte"),
        ("a.ndjson.zst", packed[..packed.len() / 2].to_vec(), "stored byte"),
        ("a.json", b"{\"orders\":[{\"k\":\"a\"".to_vec(), "column 19"),
        ("a.json", Vec::new(), "no JSON"),
        ("a.json", b"{\"k\":1} oops".to_vec(), "line 1 column"),
        ("a.csv", b"k,o,ts\na,\"b".to_vec(), "row `1`"),
        ("a.csv", b"k,o,ts\na,b".to_vec(), "row `1`"),
        ("a.parquet", whole[..whole.len() - 10].to_vec(), "fetch the file again"),
        ("a.parquet", Vec::new(), "fetch the file again"),
    ] {
        let (kind, message) = fail_one(name, bytes).await?;
        assert_eq!(kind, Kind::Data, "{message}");
        assert!(message.contains(says) && message.contains(name), "{says} in {message}");
    }
    Ok(())
}

#[tokio::test]
async fn an_input_without_a_key_column_is_refused_unless_the_key_was_chosen() -> Result {
    let o_is_missing = [
        ("a.ndjson", format!("{{\"k\":\"a\",\"i\":\"1\",\"O\":\"1\",\"ts\":{TS}}}\n").into_bytes()),
        ("a.csv", format!("k,i,ts\na,1,{TS}\n").into_bytes()),
        (
            "a.parquet",
            parquet(vec![
                ("k", text(&[Some("a")])),
                ("i", text(&[Some("1")])),
                ("ts", Arc::new(times(1).with_timezone("UTC"))),
            ])?,
        ),
    ];
    for (name, bytes) in o_is_missing {
        let (kind, message) = fail_one(name, bytes.clone()).await?;
        assert_eq!(kind, Kind::Usage);
        assert!(message.contains(name) && message.contains("column `o`") && message.contains("--key"), "{message}");
        let mut case = Case::new(&[(name, bytes)])?;
        case.options.key_chosen = true;
        assert_eq!(case.land("out").await.map_err(|error| error.render())?.counts.landed, 1);
    }
    for (columns, says) in [
        (vec![("k", text(&[Some("a")])), ("o", text(&[Some("b")])), ("ts", Arc::new(times(1)) as ArrayRef)], "no zone"),
        (vec![("k", Arc::new(BinaryArray::from(vec![&b"a"[..]])) as ArrayRef)], "column `k`"),
    ] {
        let (kind, message) = fail_one("a.parquet", parquet(columns)?).await?;
        assert!(kind == Kind::Usage && message.contains(says), "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn parquet_that_needs_no_change_is_landed_by_reference() -> Result {
    let utc = || Arc::new(times(2).with_timezone("UTC")) as ArrayRef;
    let clean = || {
        vec![
            ("k", text(&[Some("a"), Some("b")])),
            ("o", text(&[Some(""), None])),
            ("i", text(&[None, Some("1")])),
            ("ts", utc()),
        ]
    };
    let with = |name, array: ArrayRef| {
        clean().into_iter().filter(|(known, _)| *known != name).chain([(name, array)]).collect::<Vec<_>>()
    };
    let cases = [
        (clean(), true, 0),
        (with("more", Arc::new(Int64Array::from(vec![None, Some(1)]))), true, 0),
        (with("_source", text(&[Some("x"), None])), false, 0),
        (with("k", Arc::new(LargeStringArray::from(vec!["a", "b"]))), true, 0),
        (with("f", Arc::new(Float64Array::from(vec![0.0, 1.5]))), true, 0),
        (with("f", Arc::new(Float64Array::from(vec![0.0, -0.0]))), false, 0),
        (with("f", Arc::new(Float64Array::from(vec![0.0, f64::NAN]))), false, 1),
        (with("k", text(&[Some("a"), Some("B")])), false, 0),
        (with("i", text(&[None, None])), false, 1),
        (with("user", text(&[None, None])), false, 0),
        (with("n", Arc::new(Int32Array::from(vec![1, 2]))), false, 0),
        (with("n", Arc::new(Int64Array::from(vec![1, 101]))), false, 1),
        (with("j", text(&[None, Some("{ }")])), false, 0),
        (with("ts", Arc::new(Int64Array::from(vec![TS, TS]))), false, 0),
        (
            with(
                "ts",
                Arc::new(TimestampNanosecondArray::from(vec![TS * 1_000_000_000 + 999; 2]).with_timezone("+01:00")),
            ),
            false,
            0,
        ),
    ];
    for (number, (columns, by_reference, rejected)) in cases.into_iter().enumerate() {
        let has_more = columns.iter().any(|(name, _)| *name == "more");
        let bytes = parquet(columns)?;
        let (case, landed) = land_one("a.parquet", bytes.clone()).await?;
        assert_eq!(landed.files[0].by_reference, by_reference, "case {number}");
        assert_eq!((landed.counts.landed, landed.counts.rejected), (2 - rejected, rejected), "case {number}");
        assert_eq!(landed.inputs[0].left_out.get("more"), has_more.then_some(&1));
        if by_reference {
            let path = url::Url::parse(&landed.files[0].url)?.to_file_path().map_err(|()| "no path")?;
            assert_eq!(std::fs::read(path)?, bytes);
            assert_eq!(landed.files[0].digest, blake3::hash(&bytes).to_hex().to_string());
        } else {
            assert_eq!(rows(&landed)?[0]["ts"], "2025-10-09T08:53:20Z");
        }
        if rejected > 0 {
            assert_eq!(case.rejects()?[0]["rejected"]["row"], 2);
            assert_eq!(case.rejects()?[0]["row"]["ts"], "2025-10-09T08:53:20Z");
        }
    }
    Ok(())
}

#[tokio::test]
async fn many_small_pages_become_few_files_and_the_same_ones_every_time() -> Result {
    let page = |n: usize| format!("{{\"orders\":[{},{}]}}", line(&format!(",\"i\":\"{n}\"")), line(",\"x\":null"));
    let names: Vec<String> = (0..300).map(|n| format!("page-{n:03}.json")).collect();
    let files: Vec<_> = names.iter().enumerate().map(|(n, name)| (name.as_str(), page(n).into_bytes())).collect();
    let mut case = Case::new(&files)?;
    let (first, second) = (case.land("out").await?, case.land("again").await?);
    assert_eq!((first.files.len(), first.files[0].rows, first.inputs.len()), (1, 600, 300));
    assert_eq!(first.files[0].digest, second.files[0].digest);
    assert_eq!(first.inputs, second.inputs);
    case.options.max_spool_bytes = 1;
    let small: String = (0..20_000).map(|_| line("")).collect();
    std::fs::write(case.dir.path().join("in/z.ndjson"), small)?;
    let cut = case.land("cut").await?;
    assert_eq!(cut.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [8192, 8192, 4216]);
    assert!(Path::new(&cut.inputs[300].url).ends_with("z.ndjson"));
    Ok(())
}

#[tokio::test]
async fn inputs_are_found_once_sorted_and_never_silently_missing() -> Result {
    let case = Case::new(&[
        ("b.json", vec![]),
        ("a.CSV", vec![]),
        ("_x.json", vec![]),
        (".y.json", vec![]),
        ("notes.txt", vec![]),
    ])?;
    let root = case.dir.path().join("in").display().to_string();
    std::fs::create_dir(case.dir.path().join("in/sub"))?;
    std::fs::write(case.dir.path().join("in/sub/c.parquet"), "")?;
    let find = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("{root}{pattern}")).collect();
        async move { discover(&patterns, &[]).await }
    };
    for (patterns, expected) in [
        (&[""][..], &["/a.CSV", "/b.json", "/sub/c.parquet"][..]),
        (&["/b.json", "", "/b*.json"], &["/a.CSV", "/b.json", "/sub/c.parquet"]),
        (&["/**/*.parquet"], &["/sub/c.parquet"]),
    ] {
        let found = find(patterns).await?.into_iter().map(|input| input.url.replace(&root, "")).collect::<Vec<_>>();
        assert_eq!(found, expected);
    }
    for target in ["in/sub", "nowhere"] {
        let link = case.dir.path().join("in/link");
        std::os::unix::fs::symlink(case.dir.path().join(target), &link)?;
        let error = find(&[""]).await.unwrap_err();
        assert_eq!(error.kind(), tradefold::error::Kind::Usage);
        assert!(error.render().contains("in/link is a link to"), "{}", error.render());
        std::fs::remove_file(&link)?;
    }
    std::fs::create_dir(case.dir.path().join("in/empty"))?;
    for (pattern, says) in [
        ("/none.csv", "no such file"),
        ("/*.gz", "none that matches"),
        ("/empty", "no file in it"),
        ("/*.txt", "notes.txt"),
        ("/notes.txt", "no known format"),
    ] {
        let error = find(&[pattern]).await.err().ok_or("it was found")?;
        assert!(error.kind() == Kind::Usage && error.render().contains(says), "{}", error.render());
    }
    Ok(())
}
