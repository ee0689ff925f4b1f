//! What is tried again, how often, and after how long.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tradefold::error::{Error, Kind};
use tradefold::progress::{Progress, Silent};
use tradefold::retry::{Again, Failure, Waits, retry};

const WAITS: Waits = Waits {
    first: Duration::from_millis(3),
    most: Duration::from_millis(50),
    tries: 4,
    look: Duration::from_millis(1),
};

/// Fails so many times. Gives how often it was tried, how it ended, and how long that took.
async fn tried(failures: u32, again: Again) -> (u32, Result<(), Error>, Duration) {
    let (tries, begun) = (Cell::new(0), Instant::now());
    let ended = retry(&WAITS, &Silent, || {
        tries.set(tries.get() + 1);
        let failed = tries.get() <= failures;
        let error = || Failure { error: Error::new(Kind::Transient, "try"), again };
        async move { if failed { Err(error()) } else { Ok(()) } }
    });
    let ended = ended.await;
    (tries.get(), ended, begun.elapsed())
}

#[tokio::test]
async fn what_may_work_later_is_tried_a_number_of_times() {
    for (failures, tries, works) in [(0, 1, true), (1, 2, true), (3, 4, true), (4, 4, false), (99, 4, false)] {
        let (tried, ended, _) = tried(failures, Again::Later).await;
        assert_eq!((tried, ended.is_ok()), (tries, works), "{failures} failures");
    }
    let (tries, ended, _) = tried(1, Again::Never).await;
    assert_eq!((tries, ended.unwrap_err().kind()), (1, Kind::Transient));
}

#[tokio::test]
async fn the_other_side_says_how_long_to_wait_within_reason() {
    let (_, _, asked) = tried(1, Again::After(Duration::from_millis(100))).await;
    assert!(asked >= Duration::from_millis(100), "{asked:?}");
    let (_, _, long) = tried(1, Again::After(Duration::from_secs(3600))).await;
    assert!(long >= Duration::from_millis(200) && long < Duration::from_secs(60), "{long:?}");
}

/// Remembers what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_string());
    }
}

#[tokio::test]
async fn who_waits_is_told_why() {
    let notes = Notes::default();
    let failed = || async {
        let error = Error::new(Kind::Transient, "fetch a page").because("it answered with 503");
        Err::<(), _>(Failure { error, again: Again::Later })
    };
    retry(&Waits { tries: 2, ..WAITS }, &notes, failed).await.unwrap_err();
    assert_eq!(*notes.0.lock().unwrap(), ["could not fetch a page: it answered with 503; try 2 in 0 s"]);
}

#[test]
fn a_look_waits_twice_as_long_as_the_one_before() {
    let ms = |look| WAITS.step(look, Duration::from_millis(20)).as_millis();
    assert_eq!([1, 2, 3, 5, 6, 99].map(ms), [1, 2, 4, 16, 20, 20]);
    assert_eq!(WAITS.step(99, Duration::from_secs(9)), WAITS.most);
}

#[test]
fn a_try_waits_twice_as_long_as_the_one_before_and_not_always_the_same() {
    let us = |number, jitter| WAITS.after(number, jitter).as_micros();
    assert_eq!([1, 2, 3, 5, 6, 99].map(|number| us(number, 1.0)), [3_000, 6_000, 12_000, 48_000, 50_000, 50_000]);
    assert_eq!([0.0, 0.5, 1.0].map(|jitter| us(2, jitter)), [3_000, 4_500, 6_000]);
}
