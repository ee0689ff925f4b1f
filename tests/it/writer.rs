//! One writer at a time where no lock reaches: leases in the ledger.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tradefold::error::{Kind, Result};
use tradefold::ledger::{Entry, Holder, Ledger};
use tradefold::progress::Silent;
use tradefold::storage::Folder;
use tradefold::writer::{Claim, Lease, Seat, Terms, Turns, lock};

const TERMS: Terms = Terms {
    term: Duration::from_millis(1200),
    renewal: Duration::from_millis(50),
    look: Duration::from_millis(10),
    wait: Duration::from_millis(3000),
};

/// As if it slept: it gives one sign of life and no other.
const ASLEEP: Terms = Terms { renewal: Duration::from_secs(3600), ..TERMS };

fn now_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
}

async fn open(folder: &Path, nonce: &str) -> Ledger {
    Ledger::open(Folder::open(&folder.to_string_lossy(), &[]).unwrap(), nonce.into()).await.unwrap()
}

async fn take(ledger: &mut Ledger, name: &str, terms: Terms) -> Result<Lease> {
    let holder = Holder { name: name.into(), work_id: name.into() };
    Lease::take(ledger, holder, terms, now_us, &Silent).await
}

fn finished() -> Entry {
    Entry::Finished { run_id: "run".into(), parts: Vec::new(), usage: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_target_keeps_it_until_it_gives_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (open(folder.path(), "a").await, open(folder.path(), "b").await);
    let lease = take(&mut first, "first", TERMS).await.unwrap();
    let error = take(&mut second, "second", TERMS).await.unwrap_err();
    let said = error.render();
    assert_eq!(error.kind(), Kind::Busy, "longer than the term: {said}");
    assert!(said.contains("first has held it since 20") && said.contains("--wait"), "{said}");
    first.append(finished(), 1).await.unwrap();
    let waiting = tokio::spawn(async move { take(&mut second, "second", TERMS).await.map(|lease| (second, lease)) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    lease.release().await.unwrap();
    let (mut second, _lease) = waiting.await.unwrap().unwrap();
    second.append(finished(), 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_for_the_term_loses_the_target_and_can_write_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (open(folder.path(), "a").await, open(folder.path(), "b").await);
    let _asleep = take(&mut first, "first", ASLEEP).await.unwrap();
    let begun = Instant::now();
    let _lease = take(&mut second, "second", TERMS).await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(600), "it was waited for");
    assert_eq!(first.append(finished(), 1).await.unwrap_err().kind(), Kind::Busy);
    second.append(finished(), 1).await.unwrap();
    let error = take(&mut first, "first", Terms { wait: Duration::ZERO, ..TERMS }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "it has to wait like any other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_of_life_that_is_cut_short_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (open(folder.path(), "a").await, open(folder.path(), "b").await);
    let _asleep = take(&mut first, "first", ASLEEP).await.unwrap();
    let sign = folder.path().join("lease-0.json");
    while !sign.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::write(&sign, "{\"until_us\": 17").unwrap();
    take(&mut second, "second", TERMS).await.unwrap();
}

/// Its clock is a day ahead, so by what it says it holds the target until tomorrow.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_with_a_fast_clock_loses_it_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (open(folder.path(), "a").await, open(folder.path(), "b").await);
    let holder = Holder { name: "fast".into(), work_id: "fast".into() };
    let lease = Lease::take(&mut first, holder, ASLEEP, || now_us() + 86_400_000_000, &Silent).await.unwrap();
    let begun = Instant::now();
    take(&mut second, "second", TERMS).await.unwrap().release().await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(1000), "{:?}", begun.elapsed());
    drop(lease);
}

/// Its clock is a day behind, so by what it says it has lost the target long ago; but it gives signs of life.
#[tokio::test(flavor = "multi_thread")]
async fn who_lives_with_a_slow_clock_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (open(folder.path(), "a").await, open(folder.path(), "b").await);
    let holder = Holder { name: "slow".into(), work_id: "slow".into() };
    let terms = Terms { renewal: Duration::from_millis(400), ..TERMS };
    let lease = Lease::take(&mut first, holder, terms, || now_us() - 86_400_000_000, &Silent).await.unwrap();
    assert_eq!(take(&mut second, "second", terms).await.unwrap_err().kind(), Kind::Busy);
    first.append(finished(), 1).await.unwrap();
    lease.release().await.unwrap();
    take(&mut second, "second", terms).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_held_it_in_the_folder_whose_lock_we_have_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (open(folder.path(), "a").await, open(folder.path(), "b").await);
    let _dead = take(&mut first, "same", ASLEEP).await.unwrap();
    take(&mut second, "same", Terms { wait: Duration::ZERO, ..TERMS }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_come_at_once_one_waits() {
    let folder = tempfile::tempdir().unwrap();
    let mut writers = Vec::new();
    for name in ["a", "b", "c"] {
        let mut ledger = open(folder.path(), name).await;
        writers.push(tokio::spawn(async move {
            let lease = take(&mut ledger, name, Terms { wait: Duration::from_secs(30), ..TERMS }).await.unwrap();
            // Nobody else writes while it is held.
            for _ in 0..3 {
                ledger.append(finished(), 1).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            lease.release().await.unwrap();
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(open(folder.path(), "d").await.records().len(), 12);
}

/// Somebody who works long in `folder`, with a lease as `name` or only with the lock.
async fn seat(folder: &Path, name: Option<&str>, ledger: &mut Ledger) -> Seat {
    let path = folder.join("lock");
    let held = lock(&path, TERMS.wait, &Silent).await.unwrap();
    let holder = name.map(|name| Holder { name: name.into(), work_id: name.into() });
    let claim = Claim { lock: path, holder, terms: TERMS, now_us, progress: Arc::new(Silent) };
    Seat::take(claim, TERMS.wait, held, ledger).await.unwrap()
}

/// Gives turns until somebody has taken one.
async fn give(seat: &Seat, ledger: &mut Ledger) {
    while !seat.give(ledger).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_given_to_who_waits_for_it_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path(), "a").await;
    let seat = seat(folder.path(), None, &mut ledger).await;
    assert!(!seat.give(&mut ledger).await.unwrap(), "nobody waits");
    let path = folder.path().join("lock");
    let (other, mut theirs) = (path.clone(), open(folder.path(), "b").await);
    let waiting = tokio::spawn(async move {
        let _lock = lock(&other, TERMS.wait, &Silent).await.unwrap();
        theirs.append(finished(), 1).await.unwrap();
    });
    give(&seat, &mut ledger).await;
    assert!(waiting.is_finished() && ledger.records().len() == 1, "it had its turn");
    assert_eq!(lock(&path, Duration::ZERO, &Silent).await.unwrap_err().kind(), Kind::Busy, "it is taken again");
    assert!(!seat.give(&mut ledger).await.unwrap());
    ledger.append(finished(), 1).await.unwrap();
    seat.release().await.unwrap();
    lock(&path, Duration::ZERO, &Silent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_given_to_who_waits_for_it_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path(), "a").await;
    let seat = seat(folder.path(), Some("first"), &mut ledger).await;
    assert!(!seat.give(&mut ledger).await.unwrap(), "nobody waits");
    let mut theirs = open(folder.path(), "b").await;
    let waiting = tokio::spawn(async move {
        let lease = take(&mut theirs, "second", TERMS).await.unwrap();
        theirs.append(finished(), 1).await.unwrap();
        lease.release().await.unwrap();
    });
    give(&seat, &mut ledger).await;
    waiting.await.unwrap();
    let kinds: Vec<bool> = ledger.records().iter().map(|record| matches!(record.entry, Entry::Leased { .. })).collect();
    assert_eq!(kinds, [true, true, false, true], "first, second, what it did, first again");
    let mut third = open(folder.path(), "c").await;
    let error = take(&mut third, "third", Terms { wait: Duration::ZERO, ..TERMS }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    ledger.append(finished(), 1).await.unwrap();
    seat.release().await.unwrap();
}
