//! Tables that are kept up to date from the tests' server: whatever went wrong on the way, they hold what it knows.

use super::api::Api;
use super::known::{Known, Trade};
use crate::warehouse::Stand;
use crate::warehouse::local::LocalStand;
use object_store::ObjectStore;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tradefold::dataset::Dataset;
use tradefold::error::Result;
use tradefold::fetch::{Feed, Http, HttpOptions, Source, SourceKind};
use tradefold::follow::{FollowOptions, Follower, SyncOptions, Table, Wish, sync};
use tradefold::ledger::Ledger;
use tradefold::progress::Silent;
use tradefold::report::SyncReport;
use tradefold::retry::Waits;
use tradefold::run::{Run, RunOptions};

/// 2025-10-01T00:00:00Z.
pub const FIRST_S: i64 = 1_759_276_800;
pub const DAY_US: i64 = 86_400_000_000;

/// Waits that no test has to wait for.
pub const QUICK: Waits =
    Waits { first: Duration::from_millis(1), most: Duration::from_millis(5), tries: 8, look: Duration::from_millis(1) };

/// Three tables in three lakes, and the time at which they are looked after.
pub struct Keeper {
    stands: Vec<LocalStand>,
    pub source: Source,
    pub users: Vec<String>,
    pub key: String,
    /// Whether markets and events are left alone.
    pub is_alone: bool,
    pub requests_per_second: f64,
    pub waits: Waits,
    pub now_us: AtomicI64,
    pub follow: FollowOptions,
    /// The most rows of a page of trades, where it is to be fewer than the API gives.
    pub page_rows: u32,
    pub recheck_us: i64,
    pub refresh_us: i64,
}

/// A store that may fail, in place of a lake's own.
pub type Wrap<'a> = &'a dyn Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>;

impl Keeper {
    /// Nothing yet, and a source that is the tests' server.
    pub fn new(kind: SourceKind, api: &Api, days: i64) -> Keeper {
        let folders = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        Keeper::over(kind, api, days, folders, &|store| store)
    }

    /// The same in folders that may hold lakes already.
    pub fn over(kind: SourceKind, api: &Api, days: i64, folders: Vec<tempfile::TempDir>, wrap: Wrap<'_>) -> Keeper {
        let mut source = Source::usual(kind);
        let base = if kind == SourceKind::Dome { format!("{}/v1", api.url()) } else { api.url().to_string() };
        (source.base_url, source.catalogue_url) = (base.clone(), base);
        let names = [source.trades(), "markets", "events"];
        let dataset = |name| Arc::new(Dataset::built_in(name).unwrap());
        let stands = names.iter().zip(folders).map(|(name, folder)| LocalStand::over(dataset(name), folder, wrap));
        Keeper {
            stands: stands.collect(),
            source,
            users: Vec::new(),
            key: api.key().to_string(),
            is_alone: false,
            requests_per_second: 10_000.0,
            waits: QUICK,
            now_us: AtomicI64::new(FIRST_S * 1_000_000 + days * DAY_US + 600_000_000),
            follow: FollowOptions { in_flight: 4, part_pages: 40, ..FollowOptions::default() },
            page_rows: u32::MAX,
            recheck_us: 0,
            refresh_us: 3_600_000_000,
        }
    }

    /// The folders of the lakes, once nobody works in them.
    pub fn folders(self) -> Vec<tempfile::TempDir> {
        self.stands.into_iter().map(|stand| stand.folder).collect()
    }

    pub fn stand(&self, table: usize) -> &LocalStand {
        &self.stands[table]
    }

    /// A round up to ten minutes before now, from the first second of the known set on.
    pub async fn round(&self) -> Result<SyncReport> {
        self.round_from(Some(FIRST_S * 1_000_000)).await
    }

    pub async fn round_from(&self, from_us: Option<i64>) -> Result<SyncReport> {
        let to_us = self.now_us.load(Ordering::SeqCst) - 600_000_000;
        self.round_of(Wish { from_us, follows: true, overlap_us: 600_000_000, ..window(0, to_us) }).await
    }

    pub async fn round_of(&self, wish: Wish) -> Result<SyncReport> {
        let http = Http::new(&HttpOptions {
            key: Some(self.key.clone()),
            requests_per_second: self.requests_per_second,
            timeout: Duration::from_millis(1_500),
            waits: self.waits,
        })?;
        let now_us = || self.now_us.load(Ordering::SeqCst);
        let wants = [Some("condition_id"), Some("event_slug"), None];
        let mut runs = Vec::new();
        for (stand, wants) in self.stands.iter().zip(wants) {
            runs.push(Run {
                dataset: stand.dataset(),
                engine: stand.engine(),
                warehouse: stand.warehouse(),
                home: stand.home(),
                work: stand.work(),
                options: RunOptions { wants: wants.map(str::to_string), ..RunOptions::default() },
                page: None,
                turns: None,
                progress: &Silent,
                now_us: &now_us,
            });
        }
        let (mut feeds, mut ledgers) = (Vec::new(), Vec::new());
        for (place, stand) in self.stands.iter().enumerate() {
            feeds.push(self.feeds(&stand.dataset().name, place == 0));
            ledgers.push(Ledger::open(stand.home().join("ledger"), format!("{:?}", std::time::Instant::now())).await?);
        }
        let mut tables = Vec::new();
        for (((run, feeds), ledger), stand) in runs.iter().zip(&feeds).zip(&mut ledgers).zip(&self.stands) {
            let pages = stand.folder.path().join("pages");
            tables.push(Table { follower: Follower { run, http: &http, feeds, pages, options: self.follow }, ledger });
        }
        let [trades, markets, events] = tables.as_mut_slice() else { panic!("three tables") };
        let options = SyncOptions {
            wish,
            recheck_us: self.recheck_us,
            refresh_us: self.refresh_us,
            open: Some(self.source.open_markets()),
        };
        let catalogue = if self.is_alone { None } else { Some((markets, events)) };
        Box::pin(sync(trades, catalogue, &options)).await
    }

    fn feeds(&self, dataset: &str, of_trades: bool) -> Vec<Feed> {
        let (url, mut endpoint) = (self.source.url_of(dataset).to_string(), self.source.endpoint(dataset).unwrap());
        if of_trades {
            endpoint.most_rows = endpoint.most_rows.min(self.page_rows);
        }
        let feed = |filter| Feed { url: url.clone(), endpoint, filter };
        match of_trades && !self.users.is_empty() {
            true => self.users.iter().map(|user| feed(vec![("user".into(), user.clone())])).collect(),
            false => vec![feed(Vec::new())],
        }
    }

    /// Makes sure that the tables hold what the server knows of this time, and nothing else.
    pub async fn assert_holds(&self, known: &Known, to_s: i64) {
        let wanted =
            |trade: &&Trade| trade.timestamp_s < to_s && (self.users.is_empty() || self.users.contains(&trade.wallet));
        let trades: Vec<&Trade> = known.trades.iter().filter(wanted).collect();
        let rows = self.rows(0).await;
        assert_eq!(rows.len(), trades.len(), "rows of trades");
        if self.source.kind == SourceKind::Dome {
            let found: BTreeSet<_> = rows.iter().map(|row| (text(row, "tx_hash"), row["log_index"].as_i64())).collect();
            let expected = trades.iter().map(|trade| (trade.tx_hash.clone(), Some(i64::from(trade.log_index))));
            assert_eq!(found, expected.collect());
        } else {
            let mut found: Vec<_> =
                rows.iter().map(|row| (text(row, "wallet_address"), text(row, "tx_hash"))).collect();
            let mut expected: Vec<_> =
                trades.iter().map(|trade| (trade.wallet.clone(), trade.tx_hash.clone())).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
        if self.is_alone {
            return;
        }
        let named: BTreeSet<&str> = trades.iter().map(|trade| trade.condition_id.as_str()).collect();
        let markets: Vec<_> = known.markets.iter().filter(|m| named.contains(m.condition_id.as_str())).collect();
        let expected: BTreeSet<String> = markets.iter().map(|market| market.condition_id.clone()).collect();
        let found: BTreeSet<String> = self.rows(1).await.iter().map(|row| text(row, "condition_id")).collect();
        assert_eq!(found, expected, "markets");
        let slugs: BTreeSet<&str> = markets.iter().map(|market| market.event_slug.as_str()).collect();
        let events = known.events.iter().filter(|event| slugs.contains(event.slug.as_str()));
        let found: BTreeSet<String> = self.rows(2).await.iter().map(|row| text(row, "event_slug")).collect();
        assert_eq!(found, events.map(|event| event.slug.clone()).collect::<BTreeSet<String>>(), "events");
    }

    pub async fn rows(&self, table: usize) -> Vec<Value> {
        self.stands[table].table().await.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A window that is wanted once, in microseconds since 1970-01-01 UTC.
pub fn window(from_us: i64, to_us: i64) -> Wish {
    let (follows, overlap_us, fetches_anew, accepts_lost_rows) = (false, 0, false, false);
    Wish { from_us: Some(from_us), to_us, follows, overlap_us, fetches_anew, accepts_lost_rows }
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_string()
}
