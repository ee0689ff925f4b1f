//! Work that is cut into numbered pieces, done by several threads.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What came of numbered pieces of work.
type Results<R, E> = Vec<(usize, Result<R, E>)>;

/// Works on the numbers below `count`, on several threads. Gives the results in the order of the numbers, or the
/// problem of the least number that has one, however many threads there are: nothing new is begun then.
pub(crate) fn each<R: Send, E: Send + From<Error>>(
    count: usize,
    threads: usize,
    work: &(dyn Fn(usize) -> Result<R, E> + Sync),
) -> Result<Vec<R>, E> {
    each_with(count, threads, &|| (), &|(), at| work(at), &|()| Ok(()))
}

/// As [`each`], where each thread has something of its own, made by `begin`. A thread without a problem gives it to
/// `end`; a problem that `end` has is the one that is told.
pub(crate) fn each_with<S, R: Send, E: Send + From<Error>>(
    count: usize,
    threads: usize,
    begin: &(dyn Fn() -> S + Sync),
    work: &(dyn Fn(&mut S, usize) -> Result<R, E> + Sync),
    end: &(dyn Fn(S) -> Result<(), E> + Sync),
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let thread = || -> Result<Results<R, E>, E> {
        let mut own = begin();
        let mut results = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            let result = work(&mut own, at);
            let has_failed = result.is_err();
            results.push((at, result));
            if has_failed {
                // Whoever else works stops at the next number. All lesser ones are begun, so the least problem is seen.
                next.store(count, Ordering::Relaxed);
                return Ok(results);
            }
        }
        end(own)?;
        Ok(results)
    };
    let mut results: Results<R, E> = on_all(threads.min(count), &thread)?.into_iter().flatten().collect();
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Runs the same work on several threads, and on this one if there is but one. The first error counts.
pub(crate) fn on_all<R: Send, E: Send + From<Error>>(
    threads: usize,
    work: &(dyn Fn() -> Result<R, E> + Sync),
) -> Result<Vec<R>, E> {
    if threads <= 1 {
        return Ok(vec![work()?]);
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // All are waited for before the first error is given: one that panics must not take the process along.
        let ended: Vec<_> = running.into_iter().map(|thread| thread.join()).collect();
        ended.into_iter().map(|end| end.unwrap_or_else(|_| Err(Error::bug("work on several threads").into()))).collect()
    })
}
