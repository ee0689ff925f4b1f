//! Rounds against the tests' server: what is fetched, what is not, and what is told.

use super::api::Api;
use super::faults::{Fault, Faults};
use super::following::{DAY_US, FIRST_S, Keeper, window};
use super::known::{Known, Trade};
use super::world::Settings;
use crate::warehouse::fuel::{Death, Fuel, FuelStore};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tradefold::error::Kind;
use tradefold::fetch::SourceKind;
use tradefold::follow::{FollowOptions, Wish, every};
use tradefold::progress::Silent;
use tradefold::report::{SyncReport, TableReport, sync_text};

pub const DAYS: i64 = 4;
pub const END_S: i64 = FIRST_S + DAYS * 86_400;

pub fn known(trades: usize) -> Known {
    Known::generate(11, trades, DAYS as u32, FIRST_S)
}

fn inserted(table: &TableReport) -> u64 {
    table.runs.iter().map(|run| run.totals().1).sum()
}

pub fn assert_well(report: &SyncReport) {
    assert_eq!(report.ends_as(), None, "{}", sync_text(report));
}

/// How many requests for trades were made so far.
pub fn orders(api: &Api) -> usize {
    api.requests().iter().filter(|(line, _)| line.contains("orders") || line.contains("trades")).count()
}

#[tokio::test]
async fn trades_come_first_then_the_markets_and_events_that_they_name() {
    for kind in [SourceKind::Dome, SourceKind::Polymarket] {
        let api = Api::start(known(3_000), Settings { is_gzip: true, ..Settings::default() }).await;
        let keeper = Keeper::new(kind, &api, DAYS);
        let report = keeper.round().await.unwrap();
        assert_well(&report);
        keeper.assert_holds(&api.known(), END_S).await;
        assert_eq!(inserted(&report.trades), 3_000);
        // Ids that the API does not know are told, and a trade without a market wants none.
        let orphans = &report.markets.as_ref().unwrap().left;
        assert!(!orphans.is_empty() && orphans.values().all(|asked| *asked == 1), "{orphans:?}");
        assert_eq!(report.trades.feeds[0].checkpoint_us, END_S * 1_000_000);

        // A second round looks at what is new, and a little before it.
        let before = orders(&api);
        let again = keeper.round().await.unwrap();
        assert_well(&again);
        assert_eq!((inserted(&again.trades), orders(&api) - before), (0, 0), "nothing is new");
        keeper.now_us.fetch_add(60_000_000, Ordering::SeqCst);
        assert_well(&keeper.round().await.unwrap());
        assert_eq!(orders(&api) - before, 2, "a minute that is new, and ten that are not");
        keeper.assert_holds(&api.known(), END_S).await;
    }
}

#[tokio::test]
async fn ids_that_the_api_does_not_know_are_asked_for_three_times_and_then_only_listed() {
    let api = Api::start(known(400), Settings::default()).await;
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    keeper.refresh_us = i64::MAX;
    for asked in [1, 2, 3, 3, 3] {
        let report = keeper.round().await.unwrap();
        let left = report.markets.unwrap().left;
        assert!(!left.is_empty() && left.values().all(|times| *times == asked), "{asked}: {left:?}");
        for id in left.keys() {
            let asked_for = api.requests().iter().filter(|(line, _)| line.contains(id)).count();
            assert_eq!(asked_for, asked as usize, "{id}");
        }
        keeper.now_us.fetch_add(60_000_000, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn version_1_is_walked_from_now_one_wallet_at_a_time() {
    let settings = Settings { data_offset_cap: 20_000, ..Settings::default() };
    let api = Api::start(known(1_200), settings).await;
    let mut keeper = Keeper::new(SourceKind::PolymarketV1, &api, DAYS);
    keeper.users = api.known().wallets;
    api.set_faults(Faults::new(5, 1).with(Fault::Shifted, 0.2));
    assert_well(&keeper.round().await.unwrap());
    // Trades that come in meanwhile are newer than what was asked for.
    keeper.assert_holds(&api.known(), END_S).await;
}

#[tokio::test]
async fn of_what_version_1_does_not_give_the_newest_rows_come_and_the_rest_is_a_gap() {
    let known = known(1_200);
    let api = Api::start(known.clone(), Settings { data_offset_cap: 500, ..Settings::default() }).await;
    let mut keeper = Keeper::new(SourceKind::PolymarketV1, &api, DAYS);
    let report = keeper.round().await.unwrap();
    let [gap] = report.trades.fetch.gaps.as_slice() else { panic!("{}", sync_text(&report)) };
    assert!(gap.why.contains("more rows than the API gives"), "{gap:?}");
    let reached_s = gap.window.to_us / 1_000_000;
    let reached = known.trades.iter().filter(|trade| trade.timestamp_s >= reached_s).count();
    assert!((300..1_100).contains(&reached), "{reached} rows from {reached_s} on");
    assert_eq!(inserted(&report.trades), reached as u64);
    // Some more come, and what was reached then is no gap now, though it can't be reached any more.
    let later =
        |trade: &Trade| Trade { timestamp_s: END_S + 600, tx_hash: format!("{}f", trade.tx_hash), ..trade.clone() };
    let new: Vec<Trade> = known.trades[..300].iter().map(later).collect();
    api.add(new.clone());
    keeper.now_us.fetch_add(DAY_US, Ordering::SeqCst);
    keeper.follow.accepts_gaps = true;
    let report = keeper.round().await.unwrap();
    assert_eq!(report.trades.fetch.accepted, vec![gap.clone()], "{}", sync_text(&report));
    assert_eq!(report.trades.fetch.gaps, []);
    assert_eq!(inserted(&report.trades), new.len() as u64);
    assert_well(&keeper.round().await.unwrap());
}

#[tokio::test]
async fn a_wallet_that_is_followed_from_now_on_is_a_gap_over_its_past() {
    let api = Api::start(known(1_500), Settings::default()).await;
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    let wallets = api.known().wallets;
    keeper.users = wallets[..2].to_vec();
    assert_well(&keeper.round().await.unwrap());
    keeper.users = wallets[..3].to_vec();
    let before = api.requests().len();
    let report = keeper.round_from(None).await.unwrap();
    assert_well(&report);
    let asked =
        api.requests()[before..].iter().filter(|(line, _)| line.contains("orders")).cloned().collect::<Vec<_>>();
    assert!(!asked.is_empty() && asked.iter().all(|(line, _)| line.contains(&wallets[2])), "{asked:?}");
    keeper.assert_holds(&api.known(), END_S).await;
    assert_eq!(report.trades.feeds.len(), 3);
}

#[tokio::test]
async fn rows_that_come_late_are_found_once_a_day() {
    let mut late = known(1_000);
    let add = late.trades.split_off(400);
    let (add, rest): (Vec<_>, Vec<_>) = add.into_iter().partition(|trade| trade.timestamp_s % 7 == 0);
    late.trades.extend(rest);
    let api = Api::start(late, Settings::default()).await;
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    keeper.recheck_us = 30 * DAY_US;
    assert_well(&keeper.round().await.unwrap());
    let expected = add.len() as u64;
    assert!(expected > 20, "{expected}");
    api.add(add);
    keeper.now_us.fetch_add(DAY_US / 2, Ordering::SeqCst);
    assert_eq!(keeper.round().await.unwrap().late, None, "not yet");
    keeper.now_us.fetch_add(DAY_US / 2, Ordering::SeqCst);
    let report = keeper.round().await.unwrap();
    assert_well(&report);
    assert_eq!(inserted(report.late.as_ref().unwrap()), expected);
    keeper.assert_holds(&api.known(), END_S).await;
    keeper.now_us.fetch_add(60_000_000, Ordering::SeqCst);
    assert_eq!(keeper.round().await.unwrap().late, None, "once a day");
    // Each feed has its day: wallets that others look after are none of theirs.
    keeper.users = api.known().wallets[..1].to_vec();
    assert_eq!(keeper.round().await.unwrap().late, None, "it was fetched just now");
    keeper.now_us.fetch_add(DAY_US - 30_000_000, Ordering::SeqCst);
    keeper.users.clear();
    assert!(keeper.round().await.unwrap().late.is_some());
    keeper.now_us.fetch_add(60_000_000, Ordering::SeqCst);
    keeper.users = api.known().wallets[..1].to_vec();
    assert!(keeper.round().await.unwrap().late.is_some(), "all others were, and this one was not");
}

#[tokio::test]
async fn windows_that_were_wanted_once_leave_no_gap_between_them() {
    let api = Api::start(known(800), Settings::default()).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    assert_well(&keeper.round_of(days(0, 1)).await.unwrap());
    let report = keeper.round_of(days(2, 3)).await.unwrap();
    assert_well(&report);
    assert_eq!(report.trades.feeds[0].wanted.windows().len(), 2);
    assert_eq!(report.trades.feeds[0].checkpoint_us, FIRST_S * 1_000_000 + 3 * DAY_US);
    // Who follows from now on, and says nothing else, goes on behind the last of them.
    let before = orders(&api);
    assert_well(&keeper.round_from(None).await.unwrap());
    assert_eq!(orders(&api) - before, 2, "the fourth day, and ten minutes before it");
    assert_well(&keeper.round_of(days(0, 4)).await.unwrap());
    keeper.assert_holds(&api.known(), END_S).await;
}

#[tokio::test]
async fn rows_that_are_gone_from_the_table_are_not_passed_over() {
    let api = Api::start(known(500), Settings::default()).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    assert_well(&keeper.round().await.unwrap());
    std::fs::remove_dir_all(keeper.stand(0).folder.path().join("lake/trades")).unwrap();
    let error = keeper.round().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    let text = error.render();
    assert!(text.contains("500 rows are gone") && text.contains("--fetch-anew"), "{text}");
    // One day of it is fetched anew, and can't be got: it is a gap, and so is all the rest.
    api.set_faults(Faults::new(1, 0).for_ever(&format!("start_time={FIRST_S}"), Fault::ServerError));
    let first_day = Wish { fetches_anew: true, ..days(0, 1) };
    assert!(keeper.round_of(first_day).await.is_err(), "nothing else is asked for, so it is the API that fails");
    api.set_faults(Faults::default());
    assert_well(&keeper.round_of(days(0, 1)).await.unwrap());
    let found = keeper.rows(0).await.len();
    assert!(found > 0 && found < 500, "{found}");
    assert_well(&keeper.round().await.unwrap());
    keeper.assert_holds(&api.known(), END_S).await;
    // Whoever has removed rows on purpose says so.
    std::fs::remove_dir_all(keeper.stand(0).folder.path().join("lake/trades")).unwrap();
    assert!(keeper.round().await.is_err());
    assert_well(&keeper.round_of(Wish { accepts_lost_rows: true, ..days(0, 4) }).await.unwrap());
    assert_well(&keeper.round().await.unwrap());
    assert_eq!(keeper.rows(0).await.len(), 0);
}

#[tokio::test]
async fn markets_that_can_not_be_asked_for_stay_wanted() {
    let api = Api::start(known(300), Settings::default()).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    api.set_faults(Faults::new(1, 0).for_ever("/markets", Fault::ServerError));
    let report = keeper.round().await.unwrap();
    assert_eq!(report.ends_as(), Some(Kind::Busy), "{}", sync_text(&report));
    let markets = report.markets.unwrap();
    assert!(!markets.fetch.missed_keys.is_empty() && markets.left.values().all(|asked| *asked == 0), "{markets:?}");
    api.set_faults(Faults::default());
    let report = keeper.round().await.unwrap();
    assert_well(&report);
    assert!(report.markets.unwrap().left.values().all(|asked| *asked == 1), "those that nobody knows");
    keeper.assert_holds(&api.known(), END_S).await;
}

#[tokio::test]
async fn a_table_of_markets_that_is_gone_comes_back() {
    let api = Api::start(known(300), Settings::default()).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    assert_well(&keeper.round().await.unwrap());
    std::fs::remove_dir_all(keeper.stand(1).folder.path().join("lake/markets")).unwrap();
    assert_well(&keeper.round().await.unwrap());
    keeper.assert_holds(&api.known(), END_S).await;
}

#[tokio::test]
async fn open_markets_are_looked_at_again_however_many_new_ones_come() {
    let api = Api::start(known(600), Settings::default()).await;
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    keeper.refresh_us = 3 * 3_600_000_000;
    let mut updated = 0;
    for hour in 1..=8 {
        let wish = Wish { follows: true, ..window(FIRST_S * 1_000_000, (FIRST_S + hour * 36_000) * 1_000_000) };
        let report = keeper.round_of(wish).await.unwrap();
        updated += u64::from(report.markets.unwrap().runs.iter().any(|run| run.totals().2 > 0));
        keeper.now_us.fetch_add(3_600_000_000, Ordering::SeqCst);
    }
    assert!(updated >= 2, "{updated}");
}

/// A window of whole days that is wanted once.
fn days(from_day: i64, to_day: i64) -> Wish {
    window(FIRST_S * 1_000_000 + from_day * DAY_US, FIRST_S * 1_000_000 + to_day * DAY_US)
}

#[tokio::test]
async fn several_windows_are_fetched_at_once_and_pages_are_removed_when_they_have_landed() {
    let api = Api::start(known(2_000), Settings { latency: Duration::from_millis(20), ..Settings::default() }).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    assert_well(&keeper.round().await.unwrap());
    assert_eq!(api.max_in_flight(), 4);
    for table in 0..3 {
        let pages = keeper.stand(table).folder.path().join("pages");
        let left = std::fs::read_dir(&pages).into_iter().flatten().flatten();
        let left: Vec<_> = left.flat_map(|feed| std::fs::read_dir(feed.path()).unwrap().flatten()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn a_feed_without_a_beginning_is_refused() {
    let api = Api::start(known(10), Settings::default()).await;
    let error = Keeper::new(SourceKind::Dome, &api, DAYS).round_from(None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.render().contains("--from"), "{}", error.render());
}

/// Two hours of rounds, with a clock that nobody waits for.
#[tokio::test]
async fn two_hours_of_rounds_bring_every_trade_once() {
    let api = Api::start(Known::generate(4, 4_000, 1, FIRST_S), Settings::default()).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, 0);
    let (begun_us, twelve_h_us) = (FIRST_S * 1_000_000 + DAY_US / 2, DAY_US / 2);
    keeper.now_us.store(begun_us + 600_000_000, Ordering::SeqCst);
    // The past until noon, before it begins.
    assert_well(&keeper.round().await.unwrap());
    let faults = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Silence);
    api.set_faults(faults.fold(Faults::new(8, 2), |faults, fault| faults.with(fault, 0.02)));
    let (mut rounds, mut left) = (0, 12);
    let now_us = || keeper.now_us.load(Ordering::SeqCst);
    let wait = async |time: Duration| {
        keeper.now_us.fetch_add(time.as_micros() as i64, Ordering::SeqCst);
    };
    let counted = std::cell::Cell::new(0);
    let round = || {
        left -= 1;
        rounds += 1;
        let last = left == 0;
        let (keeper, counted) = (&keeper, &counted);
        async move {
            // A round takes a while.
            keeper.now_us.fetch_add(90_000_000, Ordering::SeqCst);
            let report = keeper.round_from(None).await?;
            assert_ne!(report.ends_as(), Some(Kind::Data), "{}", sync_text(&report));
            counted.set(counted.get() + inserted(&report.trades));
            Ok(!last)
        }
    };
    every(Duration::from_secs(600), &now_us, wait, &Silent, round).await.unwrap();
    assert_eq!(rounds, 12);
    assert_eq!(now_us(), begun_us + 600_000_000 + 11 * 600_000_000 + 90_000_000);
    api.set_faults(Faults::default());
    let report = keeper.round_from(None).await.unwrap();
    assert_well(&report);
    let end_s = (now_us() - 600_000_000) / 1_000_000;
    assert!(end_s > FIRST_S + twelve_h_us / 1_000_000 + 6_600);
    keeper.assert_holds(&api.known(), end_s).await;
    assert!(counted.get() > 100, "{}", counted.get());
}

/// Dies after each side effect on the lakes, starts again, and demands the same tables, with nothing fetched twice that
/// was in the ledger.
#[tokio::test]
async fn wherever_a_sync_dies_the_next_one_ends_with_the_same_tables() {
    let api = Api::start(known(300), Settings::default()).await;
    let mut deaths = 0;
    for effects in (0..400).step_by(3) {
        let death = if effects % 2 == 0 { Death::BeforeTheEffect } else { Death::AfterTheEffect };
        let fuel = Fuel::new(effects, death);
        let folders = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let wrap =
            |inner| -> Arc<dyn object_store::ObjectStore> { Arc::new(FuelStore { inner, fuel: Arc::clone(&fuel) }) };
        let dying = Keeper::over(SourceKind::Dome, &api, DAYS, folders, &wrap);
        let died = dying.round().await;
        if !fuel.is_spent() {
            assert!(died.is_ok());
            break;
        }
        deaths += 1;
        let keeper = Keeper::over(SourceKind::Dome, &api, DAYS, dying.folders(), &|store| store);
        let report = keeper.round().await.unwrap_or_else(|error| panic!("{effects}: {}", error.render()));
        assert_eq!(report.ends_as(), None, "{effects}: {}", sync_text(&report));
        keeper.assert_holds(&api.known(), END_S).await;
    }
    assert!(deaths > 10, "{deaths}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]
    /// Any cut into windows, and any overlap, gives the same table.
    #[test]
    fn however_time_is_cut_the_table_is_the_same(
        cuts in prop::collection::vec(1_i64..(DAYS * 86_400), 1..4),
        overlap_s in 0_i64..100_000,
        piece_s in 3_000_i64..400_000,
        is_dome in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let api = Api::start(known(900), Settings::default()).await;
            let kind = if is_dome { SourceKind::Dome } else { SourceKind::Polymarket };
            let mut keeper = Keeper::new(kind, &api, DAYS);
            keeper.follow = FollowOptions { piece_us: piece_s * 1_000_000, part_pages: 7, ..keeper.follow };
            keeper.is_alone = true;
            let mut cuts = cuts;
            cuts.sort_unstable();
            cuts.push(DAYS * 86_400);
            for cut in cuts {
                let to_us = (FIRST_S + cut) * 1_000_000;
                let overlap_us = overlap_s * 1_000_000;
                let wish = Wish { follows: true, overlap_us, ..window(FIRST_S * 1_000_000, to_us) };
                assert_well(&keeper.round_of(wish).await.unwrap());
                keeper.assert_holds(&api.known(), FIRST_S + cut).await;
            }
        });
    }
}
