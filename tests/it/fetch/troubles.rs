//! Answers that are not what they should be, one kind at a time and all at once.

use super::api::Api;
use super::faults::{Fault, Faults, RowFault};
use super::following::{DAY_US, FIRST_S, Keeper};
use super::syncing::{DAYS, END_S, assert_well, known, orders};
use super::world::Settings;
use tradefold::error::Kind;
use tradefold::fetch::SourceKind;
use tradefold::report::sync_text;

#[tokio::test]
async fn each_fault_alone_changes_nothing() {
    let kinds = [SourceKind::Dome, SourceKind::Polymarket];
    // What happens to a page is another matter where rows are numbered and no total is told.
    let cases = kinds.into_iter().flat_map(|kind| Fault::ALL.map(|fault| (kind, fault)));
    for (kind, fault) in cases.filter(|(kind, fault)| *kind == SourceKind::Dome || fault.is_of_page()) {
        let api = Api::start(known(900), Settings::default()).await;
        let share = if fault == Fault::Silence { 0.1 } else { 0.4 };
        api.set_faults(Faults::new(3, 2).with(fault, share));
        let mut keeper = Keeper::new(kind, &api, DAYS);
        (keeper.page_rows, keeper.is_alone) = (40, true);
        let report = keeper.round().await.unwrap_or_else(|error| panic!("{fault:?}: {}", error.render()));
        assert_eq!(report.ends_as(), None, "{kind:?} {fault:?}: {}", sync_text(&report));
        keeper.assert_holds(&api.known(), END_S).await;
        // Rows that move happen where they are counted; totals are Dome's.
        let happened: u32 = api.counts().values().sum();
        let never = fault == Fault::Shifted || fault == Fault::TotalWrong && kind == SourceKind::Polymarket;
        assert!(happened > 0 || never, "{kind:?} {fault:?} did not happen");
        assert_eq!(api.strays(), [], "a redirect was followed");
    }
}

#[tokio::test]
async fn all_faults_at_once_change_nothing() {
    for (kind, seed) in [(SourceKind::Dome, 1), (SourceKind::Dome, 2), (SourceKind::Polymarket, 3)] {
        let copies = if kind == SourceKind::Dome { 2.8 } else { 1.0 };
        let api = Api::start(known(2_000), Settings { copies, ..Settings::default() }).await;
        let faults = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Silence);
        api.set_faults(faults.fold(Faults::new(seed, 2), |faults, fault| faults.with(fault, 0.06)));
        let mut keeper = Keeper::new(kind, &api, DAYS);
        keeper.page_rows = 100;
        // What three passes did not prove is a gap, and the next round's.
        let mut report = keeper.round().await.unwrap();
        for _ in 0..6 {
            if report.ends_as() != Some(Kind::Busy) {
                break;
            }
            report = keeper.round().await.unwrap();
        }
        assert_eq!(report.ends_as(), None, "{kind:?} {seed}: {}", sync_text(&report));
        keeper.assert_holds(&api.known(), END_S).await;
        assert!(api.counts().len() > 10, "{:?}", api.counts());
    }
}

#[tokio::test]
async fn an_old_server_that_counts_rows_is_cut_until_it_gives_them() {
    let settings = Settings { is_offset_only: true, offset_cap: 1_000, ..Settings::default() };
    let api = Api::start(known(6_000), settings).await;
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    keeper.follow.piece_us = 10 * DAY_US;
    let report = keeper.round().await.unwrap();
    assert_well(&report);
    assert!(report.trades.fetch.oddities.cut > 0, "{:?}", report.trades.fetch.oddities);
    keeper.assert_holds(&api.known(), END_S).await;
}

#[tokio::test]
async fn a_second_with_more_rows_than_the_api_gives_is_a_gap_of_one_second() {
    let settings = Settings { is_offset_only: true, offset_cap: 500, ..Settings::default() };
    let api = Api::start(known(6_000), settings).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    let report = keeper.round().await.unwrap();
    assert_eq!(report.ends_as(), Some(Kind::Busy));
    let gaps = &report.trades.feeds[0].gaps;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].window.to_us - gaps[0].window.from_us, 1_000_000);
    assert!(gaps[0].why.contains("offset 1000 was refused, and it can't be cut further"), "{gaps:?}");
    // A page of that second came, and it is no less in the table for it.
    let crowd =
        api.known().trades.iter().filter(|trade| trade.timestamp_s * 1_000_000 == gaps[0].window.from_us).count();
    assert!(crowd > 1_000, "{crowd}");
    assert_eq!(keeper.rows(0).await.len(), 6_000 - crowd + 1_000);
}

#[tokio::test]
async fn a_window_that_fails_is_a_gap_and_the_next_round_fetches_that_and_nothing_else() {
    let api = Api::start(known(1_000), Settings::default()).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    let second_day = format!("start_time={}", FIRST_S + 86_400);
    api.set_faults(Faults::new(1, 0).for_ever(&second_day, Fault::ServerError));
    let report = keeper.round().await.unwrap();
    assert_eq!(report.ends_as(), Some(Kind::Busy));
    let feed = &report.trades.feeds[0];
    assert_eq!(feed.checkpoint_us, (FIRST_S + 86_400) * 1_000_000, "no gap is passed");
    assert_eq!(feed.gaps.len(), 1);
    assert!(feed.gaps[0].why.contains("answered with 500"), "{:?}", feed.gaps);
    let rows = keeper.rows(0).await.len();
    assert!(rows > 500 && rows < 1_000, "what came is in the table: {rows}");

    api.set_faults(Faults::default());
    let before = api.requests().len();
    let report = keeper.round().await.unwrap();
    assert_well(&report);
    let asked: Vec<_> = api.requests()[before..].iter().map(|(line, _)| line.clone()).collect();
    let asked: Vec<_> = asked.into_iter().filter(|line| line.contains("orders")).collect();
    // The last seconds before a gap that follows something seen are looked at again.
    assert!(asked.iter().all(|line| line.contains(&second_day) || line.contains(&overlap())), "{asked:?}");
    keeper.assert_holds(&api.known(), END_S).await;
}

/// The ten minutes before the second day.
fn overlap() -> String {
    format!("start_time={}", FIRST_S + 86_400 - 600)
}

#[tokio::test]
async fn a_gap_that_is_accepted_is_passed_for_good() {
    let api = Api::start(known(1_000), Settings::default()).await;
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    keeper.follow.accepts_gaps = true;
    let second_day = format!("start_time={}", FIRST_S + 86_400);
    api.set_faults(Faults::new(1, 0).for_ever(&second_day, Fault::ServerError));
    // Not on the first failure: by the next run it may be gone.
    assert_eq!(keeper.round().await.unwrap().ends_as(), Some(Kind::Busy));
    let report = keeper.round().await.unwrap();
    assert_well(&report);
    assert_eq!(report.trades.fetch.accepted.len(), 1);
    assert!(sync_text(&report).contains("gap passed for good: [2025-10-02T00:00:00Z"), "{}", sync_text(&report));
    assert_eq!(report.trades.feeds[0].accepted.length_us(), DAY_US);
    assert_eq!(report.trades.feeds[0].checkpoint_us, END_S * 1_000_000);
    let before = orders(&api);
    assert_well(&keeper.round().await.unwrap());
    assert_eq!(orders(&api), before, "nobody asks for it again");
}

/// A page that comes twice for ever, in place of the one that should follow it.
#[tokio::test]
async fn rows_that_are_numbered_never_come_from_a_pass_that_proves_nothing() {
    let api = Api::start(known(600), Settings::default()).await;
    let mut keeper = Keeper::new(SourceKind::Polymarket, &api, DAYS);
    (keeper.page_rows, keeper.follow.accepts_gaps) = (20, true);
    api.set_faults(Faults::new(1, 0).for_ever(&format!("end={}", FIRST_S + 86_399), Fault::PageRepeated));
    let report = keeper.round().await.unwrap();
    assert_eq!(report.ends_as(), Some(Kind::Busy), "{}", sync_text(&report));
    let of_first_day = |trade: &&super::known::Trade| trade.timestamp_s < FIRST_S + 86_400;
    let lost = api.known().trades.iter().filter(of_first_day).count();
    assert_eq!(keeper.rows(0).await.len(), 600 - lost);
    // Passed for good, and still none of its rows.
    assert_well(&keeper.round().await.unwrap());
    assert_eq!(keeper.rows(0).await.len(), 600 - lost);
}

#[tokio::test]
async fn a_total_that_never_matches_is_a_gap_whose_rows_are_in_the_table() {
    let api = Api::start(known(600), Settings::default()).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    api.set_faults(Faults::new(1, 0).for_ever("orders", Fault::TotalWrong));
    let report = keeper.round().await.unwrap();
    assert_eq!(report.ends_as(), Some(Kind::Busy));
    assert!(report.trades.feeds[0].gaps[0].why.contains("total"), "{:?}", report.trades.feeds);
    assert_eq!(keeper.rows(0).await.len(), 600);
    let passes = report.trades.fetch.oddities;
    assert_eq!((passes.wrong_totals, passes.passes_again), (6 * DAYS as u64, 2 * DAYS as u64));
}

#[tokio::test]
async fn bad_rows_are_set_aside_one_by_one() {
    let row_faults = vec![
        RowFault::WrongType,
        RowFault::TextNumber,
        RowFault::UnknownField,
        RowFault::MissingKey,
        RowFault::NotUtf8,
    ];
    let settings = Settings { row_faults, row_fault_every: 400, ..Settings::default() };
    let api = Api::start(known(3_000), settings).await;
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    let report = keeper.round().await.unwrap();
    assert_well(&report);
    let bad = api.bad_rows();
    let rejected = bad.iter().filter(|(_, fault)| !fault.lands()).count();
    assert!(rejected > 2 && rejected < bad.len(), "{bad:?}");
    assert_eq!(report.trades.runs[0].balance.landing.rejected, rejected as u64, "{:?}", report.trades.runs[0]);
    assert_eq!(keeper.rows(0).await.len(), 3_000 - rejected);
    let file = report.trades.runs[0].files["rejects"].clone();
    let text = std::fs::read_to_string(url::Url::parse(&file).unwrap().to_file_path().unwrap()).unwrap();
    assert_eq!(text.lines().count(), rejected);
    assert!(text.contains("invalid UTF-8"), "{text}");
}

#[tokio::test]
async fn what_would_fail_again_ends_the_run_at_once() {
    let api = Api::start(known(100), Settings::default()).await;
    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    keeper.key = "a-key-of-somebody-else".into();
    let error = keeper.round().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{}", error.render());
    assert!(error.render().contains("TRADEFOLD_API_KEY"), "{}", error.render());
    assert!(!format!("{}{error:?}", error.render()).contains("somebody-else"), "a secret was printed");
    // All windows may have been asked for by then, and none twice.
    assert!(api.requests().len() <= DAYS as usize, "{:?}", api.requests());

    let mut keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    keeper.source.base_url = format!("{}/nowhere", api.url());
    let error = keeper.round().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{}", error.render());
    assert!(error.render().contains("--base-url"), "{}", error.render());
}

#[tokio::test]
async fn an_api_that_answers_nothing_is_no_gap_but_a_failure() {
    let api = Api::start(known(100), Settings::default()).await;
    api.set_faults(Faults::new(1, 0).for_ever("", Fault::Unavailable));
    let keeper = Keeper::new(SourceKind::Dome, &api, DAYS);
    let error = keeper.round().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{}", error.render());
    assert!(error.render().contains("hint: run the same command again later"), "{}", error.render());
    api.set_faults(Faults::default());
    assert_well(&keeper.round().await.unwrap());
    keeper.assert_holds(&api.known(), END_S).await;
}
