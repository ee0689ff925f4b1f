//! Pages of an API: inputs that come one by one, bytes that are no UTF-8, what is filled in, and what is counted.

use super::*;
use futures::{Stream, StreamExt};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tradefold::landing::land_stream;
use tradefold::progress::Progress;
use tradefold::source::{Input, Page};

pub(super) const NOW_US: i64 = 1_775_000_000_000_000;

pub(super) const FILLS: &str = r#"
name = "fills"
key = ["k", "COALESCE(o, '')", "size", "nth"]
order = ["ts DESC NULLS LAST"]
occurrence = "nth"
fetched = "seen"
envelope = ["data"]
column = [
  { name = "k", type = "string", format = "hex" },
  { name = "o", type = "string" },
  { name = "size", type = "string", format = "decimal" },
  { name = "nth", type = "int64" },
  { name = "ts", type = "timestamp", unit = "s" },
  { name = "seen", type = "timestamp", unit = "s" },
]
"#;

/// Pages on the disk, and what lands of them.
pub(super) struct Pages {
    pub(super) dir: TempDir,
    dataset: Dataset,
    pub(super) inputs: Vec<Input>,
}

impl Pages {
    pub(super) fn new(dataset: Dataset) -> Result<Pages> {
        Ok(Pages { dir: tempfile::tempdir()?, dataset, inputs: Vec::new() })
    }

    pub(super) fn of(contract: &str) -> Result<Pages> {
        Pages::new(Dataset::from_toml(contract, "t.toml")?)
    }

    /// Adds a page of a pass, which was fetched as many seconds after [`NOW_US`] as there were pages before it.
    pub(super) fn add(&mut self, pass: u64, body: impl AsRef<[u8]>) -> Result<&mut Pages> {
        let number = self.inputs.len();
        let path = self.dir.path().join(format!("{number}.json.zst"));
        std::fs::write(&path, zstd::encode_all(body.as_ref(), 1)?)?;
        let page = Page { fetched_at_us: NOW_US + number as i64 * 1_000_000, pass, window: None };
        self.inputs.push(Input::of_page(format!("api://page-{number}"), &path, page)?);
        Ok(self)
    }

    pub(super) async fn land(&self) -> Result<Landed> {
        let inputs: Vec<_> = self.inputs.iter().cloned().map(Ok).collect();
        Ok(self.land_stream(futures::stream::iter(inputs)).await.map_err(|error| error.render())?)
    }

    async fn land_stream(
        &self,
        inputs: impl Stream<Item = tradefold::error::Result<Input>> + Send + 'static,
    ) -> tradefold::error::Result<Landed> {
        let into = Folder::open(&self.dir.path().join("out").display().to_string(), &[])?;
        land_stream(&self.dataset, inputs, &into, &LandingOptions::new(NOW_US), &Silent).await
    }

    pub(super) fn rejects(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.dir.path().join("out/rejects.ndjson"))?;
        Ok(text.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?)
    }
}

/// What a landing says of its progress: the totals, and how many inputs it has read.
#[derive(Default)]
struct Heard {
    totals: Mutex<Vec<Option<u64>>>,
    inputs: AtomicUsize,
}

impl Progress for Heard {
    fn begin(&self, _: &str, total: Option<u64>) {
        self.totals.lock().unwrap().push(total);
    }

    fn advance(&self, _: u64) {
        self.inputs.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&self, _: &str) {}
}

pub(super) fn fill(extra: &str) -> String {
    format!("{{\"k\":\"0xA\",\"o\":\"1\",\"size\":\"2.50\",\"ts\":{TS}{extra}}}")
}

pub(super) fn column(landed: &Landed, name: &str) -> Result<Vec<Value>> {
    Ok(rows(landed)?.iter().map(|row| row[name].clone()).collect())
}

#[tokio::test]
async fn inputs_land_while_others_are_still_to_come() -> Result {
    let mut pages = Pages::of(FILLS)?;
    for number in 0..30 {
        pages.add(1, format!("{{\"data\":[{}]}}", fill(&format!(",\"o\":\"{number}\""))))?;
    }
    // An input comes only once an earlier one was read: a landing that waits for all of them never ends.
    let heard = Arc::new(Heard::default());
    let read = Arc::clone(&heard);
    let inputs = futures::stream::iter(pages.inputs.clone().into_iter().enumerate()).then(move |(number, input)| {
        let read = Arc::clone(&read);
        async move {
            while read.inputs.load(Ordering::Relaxed) + 12 < number {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(input)
        }
    });
    let into = Folder::open(&pages.dir.path().join("out").display().to_string(), &[])?;
    let options = LandingOptions::new(NOW_US);
    let landing = land_stream(&pages.dataset, inputs, &into, &options, heard.as_ref());
    let landed = tokio::time::timeout(Duration::from_secs(20), landing).await?.map_err(|error| error.render())?;
    assert_eq!((landed.files.len(), landed.counts.landed, landed.inputs.len()), (1, 30, 30));
    let expected: Vec<Value> = (0..30).map(|number| format!("api://page-{number}").into()).collect();
    assert_eq!(column(&landed, "_source")?, expected, "the order is that of the stream");
    assert_eq!(landed.inputs[29].url, "api://page-29");
    Ok(())
}

#[tokio::test]
async fn an_error_of_the_stream_ends_the_landing_and_nothing_is_left() -> Result {
    let mut pages = Pages::of(FILLS)?;
    pages.add(1, fill(""))?.add(1, fill(",\"ts\":null"))?;
    let end = tradefold::error::Error::new(Kind::Transient, "fetch a page");
    // It never ends by itself: who waits for more would wait for ever.
    let inputs: Vec<_> = pages.inputs.iter().cloned().map(Ok).chain([Err(end)]).collect();
    let failed = pages.land_stream(futures::stream::iter(inputs).chain(futures::stream::pending()));
    let error = failed.await.err().ok_or("it landed")?;
    assert_eq!((error.kind(), error.to_string()), (Kind::Transient, "could not fetch a page".to_string()));
    let out = pages.dir.path().join("out");
    assert!(!out.exists() || std::fs::read_dir(out)?.next().is_none(), "something was left behind");
    Ok(())
}

#[tokio::test]
async fn a_landing_that_cannot_write_does_not_wait_for_the_next_input() -> Result {
    let mut pages = Pages::of(FILLS)?;
    // More than one batch, so that something is written before the stream ends.
    let rows = vec![fill(""); 9_000].join(",");
    pages.add(1, format!("[{rows}]"))?;
    std::fs::write(pages.dir.path().join("file"), "")?;
    let into = Folder::open(&pages.dir.path().join("file/out").display().to_string(), &[])?;
    let options = LandingOptions { max_spool_bytes: 1, ..LandingOptions::new(NOW_US) };
    let inputs = futures::stream::iter(vec![Ok(pages.inputs[0].clone())]).chain(futures::stream::pending());
    let landing = land_stream(&pages.dataset, inputs, &into, &options, &Silent);
    let ended = tokio::time::timeout(Duration::from_secs(20), landing).await;
    assert!(ended.map_err(|_| "it waits")?.is_err());
    Ok(())
}

#[tokio::test]
async fn a_stream_that_panics_is_no_end_of_the_inputs() -> Result {
    let mut pages = Pages::of(FILLS)?;
    let inputs = [pages.add(1, fill(""))?.inputs.pop(), None];
    let inputs = futures::stream::iter(inputs).map(|input| Ok(input.expect("the next page")));
    assert!(pages.land_stream(inputs).await.is_err(), "a page is missing");
    Ok(())
}

#[tokio::test]
async fn progress_knows_a_total_only_of_a_list() -> Result {
    let mut pages = Pages::of(FILLS)?;
    pages.add(1, fill(""))?;
    let size = std::fs::metadata(pages.dir.path().join("0.json.zst"))?.len();
    let (heard, options) = (Heard::default(), LandingOptions::new(NOW_US));
    let into = Folder::open(&pages.dir.path().join("out").display().to_string(), &[])?;
    land(&pages.dataset, &pages.inputs, &into, &options, &heard).await?;
    let inputs = futures::stream::iter(vec![Ok(pages.inputs[0].clone())]);
    land_stream(&pages.dataset, inputs, &into, &options, &heard).await?;
    assert_eq!(*heard.totals.lock().unwrap(), [Some(size), None]);
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_no_utf8_cost_a_page_only_the_rows_that_have_them() -> Result {
    let mut pages = Pages::of(FILLS)?;
    let (before, after) = (fill(",\"o\":\"a\""), fill(",\"o\":\"\u{fffd}\""));
    let mut body = format!("{{\"title\":\"\u{fffd}\",\"data\":[{before},").into_bytes();
    body.extend(b"{\"k\":\"0xb\",\"o\":\"\xff\xfe\xc3\"},");
    body.extend(format!("{after}],\"more\":\"").bytes().chain(*b"\xe2\x82\"}"));
    let landed = pages.add(1, &body)?.land().await?;
    assert_eq!((landed.counts.read, landed.counts.landed, landed.counts.rejected), (3, 2, 1));
    assert_eq!(column(&landed, "o")?, ["a", "\u{fffd}"], "a replacement that was sent is a character");
    let expected = json!({
        "rejected": {"file": "api://page-0", "row": 2, "column": null, "reason": "invalid UTF-8"},
        "row": {"k": "0xb", "o": "\u{fffd}\u{fffd}\u{fffd}"},
    });
    assert_eq!(pages.rejects()?, [expected]);
    // The same bytes in a file that somebody has are an error.
    let (kind, message) = fail_one("a.json", body).await?;
    assert!(kind == Kind::Data && message.contains("utf-8"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_row_that_does_not_know_when_it_was_fetched_gets_the_time_of_its_page() -> Result {
    let mut pages = Pages::of(FILLS)?;
    let all = [fill(",\"o\":\"1\""), fill(",\"o\":\"2\",\"seen\":null"), fill(",\"o\":\"3\",\"seen\":1774999999")];
    pages.add(1, format!("[{}]", all.join(",")))?.add(1, fill(""))?;
    let landed = pages.land().await?;
    let expected = ["2026-03-31T23:33:20Z", "2026-03-31T23:33:20Z", "2026-03-31T23:33:19Z", "2026-03-31T23:33:21Z"];
    assert_eq!(column(&landed, "seen")?, expected);
    // A file that was fetched by somebody else says nothing of it.
    let file = pages.dir.path().join("file.ndjson");
    std::fs::write(&file, fill(",\"nth\":1") + "\n")?;
    pages.inputs = discover(&[file.display().to_string()], &[]).await?;
    assert_eq!(pages.inputs[0].page, None);
    assert_eq!(column(&pages.land().await?, "seen")?, [Value::Null]);
    Ok(())
}

#[tokio::test]
async fn a_fetch_may_go_on_for_days() -> Result {
    let mut pages = Pages::of(FILLS)?;
    let week_us = 7 * 86_400_000_000;
    let late = (NOW_US + week_us) / 1_000_000;
    let body = format!("[{},{}]", fill(&format!(",\"ts\":{late}")), fill(&format!(",\"ts\":{}", late + 86_401)));
    pages.add(1, &body)?.add(1, &body)?;
    pages.inputs[0].page = Some(Page { fetched_at_us: NOW_US + week_us, pass: 1, window: None });
    let landed = pages.land().await?;
    let landed_by_page: Vec<_> = landed.inputs.iter().map(|input| input.counts.landed).collect();
    assert_eq!(landed_by_page, [1, 0], "a page is as late as it was fetched, and a day of wrong clocks is let pass");
    assert_eq!(landed.rejects_by_reason.get("ts: a time in the future"), Some(&3));
    Ok(())
}

#[tokio::test]
async fn equal_rows_of_a_pass_are_numbered() -> Result {
    let mut pages = Pages::of(FILLS)?;
    let same = [fill(""), fill(",\"size\":2.5,\"k\":\"0xa\""), fill(",\"n\":0,\"size\":25e-1")];
    let bad = fill(",\"ts\":null");
    let other =
        [fill(",\"o\":null"), fill(",\"o\":\"\""), fill(",\"size\":\"2.51\""), fill(",\"k\":\"0xA1\",\"o\":\"\"")];
    // Two passes whose pages come in turns; the other pass finds the same rows in another order.
    pages.add(1, format!("[{},{bad},{}]", same[0], other.join(",")))?;
    pages.add(2, format!("[{},{}]", other.join(","), same[2]))?;
    pages.add(1, format!("[{},{}]", same[1], same[2]))?;
    pages.add(2, format!("[{bad},{},{}]", same[0], same[1]))?;
    let landed = pages.land().await?;
    assert_eq!((landed.counts.landed, landed.counts.rejected), (14, 2));
    let key = |row: &Value| ["k", "o", "size", "nth"].map(|name| row[name].to_string()).join(" ");
    let keys_of = |pass: [&str; 2]| -> Result<Vec<String>> {
        let all = rows(&landed)?;
        let mut keys: Vec<_> = all.iter().filter(|r| pass.iter().any(|p| r["_source"] == *p)).map(key).collect();
        keys.sort();
        Ok(keys)
    };
    let first = keys_of(["api://page-0", "api://page-2"])?;
    assert_eq!(
        first,
        [
            "\"0xa\" \"\" \"2.5\" 2",
            "\"0xa\" \"1\" \"2.5\" 1",
            "\"0xa\" \"1\" \"2.5\" 2",
            "\"0xa\" \"1\" \"2.5\" 3",
            "\"0xa\" \"1\" \"2.51\" 1",
            "\"0xa\" null \"2.5\" 1",
            "\"0xa1\" \"\" \"2.5\" 1",
        ],
        "a text that stands in for NULL is the same part of the key"
    );
    assert_eq!(first, keys_of(["api://page-1", "api://page-3"])?);
    Ok(())
}

#[tokio::test]
async fn a_page_must_not_bring_the_number_that_is_counted_and_a_file_must() -> Result {
    let mut pages = Pages::of(FILLS)?;
    let landed = pages.add(1, format!("[{},{}]", fill(",\"nth\":1"), fill(",\"nth\":null")))?.land().await?;
    assert_eq!(column(&landed, "nth")?, [1]);
    let rejects = pages.rejects()?;
    let expected = ["nth", "the number of an occurrence is counted here"];
    assert_eq!([&rejects[0]["rejected"]["column"], &rejects[0]["rejected"]["reason"]], expected);
    let file = pages.dir.path().join("file.ndjson");
    for (row, lands) in [(fill(",\"nth\":7"), true), (fill(""), false)] {
        std::fs::write(&file, row + "\n")?;
        pages.inputs = discover(&[file.display().to_string()], &[]).await?;
        match pages.land().await {
            Ok(landed) => assert!(lands && column(&landed, "nth")? == [7]),
            Err(error) => assert!(!lands && error.to_string().contains("column `nth`"), "{error}"),
        }
    }
    Ok(())
}
