//! A walk without I/O: each odd answer alone, and what it comes to.

use tradefold::fetch::{At, Facts, Next, Oddities, Pager, Piece, Reach, Step};
use tradefold::window::Window;

const REACH: Reach = Reach { last_offset: 100, by_time: true, shifts: false, numbers: false };

fn piece() -> Piece {
    Piece::Span(Window { from_us: 0, to_us: 10_000_000 })
}

fn pager(reach: Reach) -> Pager {
    Pager::new(piece(), reach)
}

/// A page of ten rows, known by its number.
fn page(number: u64, next: Next) -> Facts {
    let digests = (0..10).map(|row| number * 10 + row).collect();
    Facts {
        rows: 10,
        digest: number,
        digests,
        next,
        total: None,
        is_newest_first: true,
        times_us: None,
        is_past_piece: false,
    }
}

/// The first of its rows.
fn first_rows(rows: usize, facts: Facts) -> Facts {
    Facts { rows: rows as u64, digests: facts.digests[..rows].to_vec(), ..facts }
}

fn cursor(text: &str) -> Next {
    Next::Cursor(text.into())
}

/// Where the walk goes on, after an answer whose rows are kept.
fn kept(pager: &mut Pager, facts: &Facts) -> Step {
    let turn = pager.answered(facts, 10);
    assert!(turn.keeps_page && !turn.drops_pass, "{turn:?}");
    turn.step
}

/// Where the walk goes on, after an answer whose rows are not.
fn passed_over(pager: &mut Pager, facts: &Facts) -> At {
    let turn = pager.answered(facts, 10);
    assert!(!turn.keeps_page, "{turn:?}");
    at(&turn.step)
}

fn at(step: &Step) -> At {
    match step {
        Step::Ask(ask) => ask.at.clone(),
        other => panic!("{other:?} asks for nothing"),
    }
}

#[test]
fn cursors_are_followed_to_the_end() {
    let mut pager = pager(REACH);
    assert_eq!(pager.ask().at, At::Start);
    assert_eq!(at(&kept(&mut pager, &page(1, cursor("a")))), At::Cursor("a".into()));
    assert_eq!(at(&kept(&mut pager, &page(2, cursor("b")))), At::Cursor("b".into()));
    assert_eq!(kept(&mut pager, &page(3, Next::End)), Step::Complete);
    assert!(pager.oddities().is_empty());
}

#[test]
fn rows_are_counted_where_there_is_no_cursor_and_an_empty_page_is_the_end() {
    let mut pager = pager(REACH);
    assert_eq!(at(&kept(&mut pager, &page(1, Next::Unknown))), At::Offset(10));
    // Fewer rows than were asked for say nothing: the API may give fewer.
    let short = first_rows(3, page(2, Next::Unknown));
    assert_eq!(at(&kept(&mut pager, &short)), At::Offset(13));
    assert_eq!(at(&kept(&mut pager, &page(3, Next::More))), At::Offset(23));
    assert_eq!(kept(&mut pager, &first_rows(0, page(4, Next::Unknown))), Step::Complete);
}

#[test]
fn a_page_that_came_before_is_asked_for_again_then_the_pass_is_then_it_is_a_gap() {
    for (again, has_rows) in
        [(page(1, cursor("a")), false), (page(2, cursor("a")), true), (first_rows(0, page(9, cursor("c"))), false)]
    {
        let mut pager = pager(REACH);
        for pass in 1..=3 {
            assert_eq!(pager.pass(), pass);
            assert_eq!(at(&kept(&mut pager, &page(1, cursor("a")))), At::Cursor("a".into()), "{again:?}");
            for _ in 0..3 {
                assert_eq!(passed_over(&mut pager, &again), At::Cursor("a".into()), "{again:?}");
            }
            let turn = pager.answered(&again, 10);
            assert_eq!(turn.keeps_page, has_rows, "rows that had not come before are rows");
            match turn.step {
                Step::Gap(why) => assert!(pass == 3 && why.starts_with("3 passes over it proved nothing"), "{why}"),
                step => assert_eq!((at(&step), pass < 3), (At::Start, true)),
            }
        }
        let odd = pager.oddities();
        assert_eq!((odd.repeated_pages + odd.repeated_cursors + odd.empty_pages, odd.passes_again), (12, 2), "{odd:?}");
    }
}

#[test]
fn one_bad_answer_costs_one_request() {
    let mut pager = pager(REACH);
    kept(&mut pager, &page(1, cursor("a")));
    assert_eq!(passed_over(&mut pager, &page(1, cursor("a"))), At::Cursor("a".into()));
    assert_eq!(at(&kept(&mut pager, &page(2, cursor("b")))), At::Cursor("b".into()));
    assert_eq!(kept(&mut pager, &page(3, Next::End)), Step::Complete);
    assert_eq!(pager.oddities(), Oddities { repeated_pages: 1, ..Oddities::default() });
}

#[test]
fn the_last_total_has_to_be_the_rows_that_came() {
    let told = |number, next, total| Facts { total: Some(total), ..page(number, next) };
    for (first, last, is_whole) in [(20, 20, true), (19, 20, true), (27, 27, false), (20, 21, false)] {
        let mut pager = pager(REACH);
        kept(&mut pager, &told(1, cursor("a"), first));
        if is_whole {
            assert_eq!(kept(&mut pager, &told(2, Next::End, last)), Step::Complete, "{first} {last}");
            continue;
        }
        // The last page is asked for once more, and then all of them are.
        assert_eq!(passed_over(&mut pager, &told(2, Next::End, last)), At::Cursor("a".into()), "{first} {last}");
        assert_eq!(at(&kept(&mut pager, &told(2, Next::End, last))), At::Start, "{first} {last}");
        assert_eq!((pager.oddities().wrong_totals, pager.pass()), (2, 2));
    }
    // Rows that were not asked for are none of the total.
    let mut pager = pager(REACH);
    let with_two_more = Facts { rows: 10, ..first_rows(8, told(1, Next::End, 8)) };
    assert_eq!(kept(&mut pager, &with_two_more), Step::Complete);
    assert_eq!(pager.oddities(), Oddities { outside_rows: 2, ..Oddities::default() });
}

#[test]
fn where_rows_are_counted_the_total_must_not_change_either() {
    let told = |number, next, total| Facts { total: Some(total), ..page(number, next) };
    let mut pager = pager(REACH);
    kept(&mut pager, &told(1, Next::More, 19));
    assert_eq!(passed_over(&mut pager, &told(2, Next::End, 20)), At::Offset(10));
    assert_eq!(at(&kept(&mut pager, &told(2, Next::End, 20))), At::Start);
}

#[test]
fn a_page_is_known_by_its_rows_even_where_others_stand_between_them() {
    let mut pager = pager(REACH);
    kept(&mut pager, &page(1, cursor("a")));
    let mut again = page(1, cursor("b"));
    again.rows += 2;
    again.digests.reverse();
    assert_eq!(passed_over(&mut pager, &again), At::Cursor("a".into()));
    // Some rows that came before are no page that did: equal fills may stand on both sides of its edge.
    again.digests[0] = 99;
    again.rows -= 2;
    assert_eq!(at(&kept(&mut pager, &again)), At::Cursor("b".into()));
}

#[test]
fn what_is_more_than_the_api_gives_is_cut_at_a_whole_second_or_is_a_gap() {
    let mut pager = pager(Reach { last_offset: 15, ..REACH });
    kept(&mut pager, &page(1, Next::More));
    let Step::Cut(halves) = kept(&mut pager, &page(2, Next::More)) else { panic!("20 is past 15") };
    let span = |from_us, to_us| Piece::Span(Window { from_us, to_us });
    assert_eq!(*halves, (span(0, 5_000_000), span(5_000_000, 10_000_000)));
    let second = span(0, 1_000_000);
    for (piece, by_time) in [(second, true), (piece(), false)] {
        let mut pager = Pager::new(piece, Reach { last_offset: 5, by_time, ..REACH });
        let step = kept(&mut pager, &page(1, Next::More));
        assert!(matches!(&step, Step::Gap(why) if why.contains("no offset past 5 is answered")), "{step:?}");
    }
    let mut pager = Pager::new(Piece::Keys(vec!["a".into(), "b".into(), "c".into()]), REACH);
    let Step::Cut(halves) = pager.out_of_reach() else { panic!("keys can be cut") };
    assert_eq!(*halves, (Piece::Keys(vec!["a".into()]), Piece::Keys(vec!["b".into(), "c".into()])));
}

#[test]
fn cursors_without_an_end_are_followed_only_so_far() {
    for (piece, may_be_cut) in [(piece(), true), (Piece::Span(Window { from_us: 0, to_us: 1_000_000 }), false)] {
        let mut pager = Pager::new(piece, REACH);
        for number in 1..10_000 {
            assert_eq!(at(&kept(&mut pager, &page(number, cursor(&number.to_string())))), pager.ask().at);
        }
        match kept(&mut pager, &page(10_000, cursor("10000"))) {
            Step::Cut(_) => assert!(may_be_cut),
            Step::Gap(why) => assert!(!may_be_cut && why.contains("10000 pages are not all of it"), "{why}"),
            step => panic!("{step:?}"),
        }
    }
}

/// A page of a walk from now back, with the seconds of its newest and its oldest row.
fn timed(number: u64, newest_s: i64, oldest_s: i64) -> Facts {
    let times_us = Some((newest_s * 1_000_000 + 7, oldest_s * 1_000_000 + 7));
    Facts { times_us, ..page(number, Next::Unknown) }
}

#[test]
fn where_an_api_gives_only_the_newest_rows_those_are_proven() {
    let reach = Reach { last_offset: 15, by_time: false, shifts: true, ..REACH };
    let newest = || {
        let mut pager = pager(reach);
        kept(&mut pager, &timed(1, 12, 8));
        pager
    };
    let (mut by_rows, mut refused) = (newest(), newest());
    assert_eq!(at(&kept(&mut by_rows, &timed(2, 8, 4))), At::Start, "20 is past 15");
    assert_eq!(at(&refused.out_of_reach()), At::Start);
    for (mut pager, from_s) in [(by_rows, 5), (refused, 9)] {
        // Of the oldest second there may be more.
        let Step::Reached(window, why) = pager.answered(&timed(1, 12, 8), 10).step else { panic!("{pager:?}") };
        assert_eq!(window, Window { from_us: from_s * 1_000_000, to_us: 10_000_000 });
        assert!(why.starts_with("it has more rows than the API gives"), "{why}");
    }
    // Rows that move meanwhile prove nothing, and neither do rows in another order, or none of the piece.
    let mut moved = newest();
    kept(&mut moved, &timed(2, 8, 4));
    assert_eq!((at(&moved.answered(&timed(3, 12, 8), 10).step), moved.pass()), (At::Start, 2));
    for (second, first) in [(timed(2, 9, 4), timed(1, 12, 8)), (timed(2, 11, 10), timed(1, 12, 11))] {
        let mut pager = pager(reach);
        kept(&mut pager, &first);
        assert!(matches!(kept(&mut pager, &second), Step::Gap(_)), "{second:?}");
    }
}

#[test]
fn where_rows_move_from_page_to_page_the_first_page_has_to_be_the_same_at_the_end() {
    let reach = Reach { shifts: true, numbers: true, ..REACH };
    let empty = first_rows(0, page(0, Next::Unknown));
    let mut pager = pager(reach);
    kept(&mut pager, &page(1, Next::Unknown));
    assert_eq!(at(&kept(&mut pager, &empty)), At::Start);
    let turn = pager.answered(&page(7, Next::Unknown), 10);
    assert!(turn.drops_pass && !turn.keeps_page, "{turn:?}");
    assert_eq!((at(&turn.step), pager.pass(), pager.oddities().shifted), (At::Start, 2, 1));
    kept(&mut pager, &page(7, Next::Unknown));
    kept(&mut pager, &empty);
    let turn = pager.answered(&page(7, Next::Unknown), 10);
    assert_eq!((turn.keeps_page, turn.step), (false, Step::Complete));
}

#[test]
fn where_equal_rows_are_numbered_a_page_with_too_many_is_asked_for_again() {
    for numbers in [true, false] {
        let mut pager = pager(Reach { numbers, ..REACH });
        kept(&mut pager, &page(1, cursor("a")));
        let turn = pager.answered(&page(2, Next::End), 9);
        assert_eq!((turn.keeps_page, turn.step == Step::Complete), (!numbers, !numbers));
        assert_eq!(pager.oddities().oversized_pages, 1);
        if numbers {
            assert_eq!(at(&turn.step), At::Cursor("a".into()));
            assert_eq!(kept(&mut pager, &page(2, Next::End)), Step::Complete);
        }
    }
}

#[test]
fn a_walk_from_now_ends_where_rows_are_older_than_the_piece() {
    let reach = Reach { by_time: false, shifts: true, ..REACH };
    let mut pager = pager(reach);
    kept(&mut pager, &page(1, Next::Unknown));
    let last = Facts { is_past_piece: true, ..page(2, Next::Unknown) };
    assert_eq!(at(&kept(&mut pager, &last)), At::Start);
    assert_eq!(pager.answered(&page(1, Next::Unknown), 10).step, Step::Complete);
}

#[test]
fn a_cursor_that_the_api_has_forgotten_begins_another_pass() {
    let mut pager = pager(REACH);
    kept(&mut pager, &page(1, cursor("a")));
    assert_eq!(at(&pager.lost_place().step), At::Start);
    assert_eq!(pager.oddities().passes_again, 1);
    // What came before is no repetition in it.
    assert_eq!(at(&kept(&mut pager, &page(1, cursor("x")))), At::Cursor("x".into()));
}

#[test]
fn rows_that_go_on_behind_the_edge_of_a_page_are_no_page_that_came_before() {
    let mut pager = pager(Reach { numbers: true, ..REACH });
    kept(&mut pager, &page(1, cursor("a")));
    // Equal fills: the last row of the first page, twice more.
    let more = Facts { rows: 2, digests: vec![19, 19], ..page(2, Next::End) };
    assert_eq!(kept(&mut pager, &more), Step::Complete);
    // Not behind a page that was not full: nothing was cut off there.
    let mut pager = Pager::new(piece(), Reach { numbers: true, ..REACH });
    kept(&mut pager, &first_rows(1, page(1, cursor("a"))));
    assert_eq!(passed_over(&mut pager, &first_rows(1, page(1, cursor("b")))), At::Cursor("a".into()));
}

#[test]
fn an_api_that_does_not_hear_which_time_it_is_asked_for_proves_nothing() {
    let unasked = Facts { digests: Vec::new(), ..page(1, cursor("a")) };
    let mut pager = pager(REACH);
    for _ in 0..3 {
        assert_eq!(passed_over(&mut pager, &unasked), At::Start);
    }
    assert_eq!(pager.answered(&unasked, 10).step, Step::Ask(pager.ask()));
    assert_eq!(pager.pass(), 2);
    // One that can't be asked for a time has newer rows before those that are wanted.
    let mut pager = Pager::new(piece(), Reach { by_time: false, ..REACH });
    assert_eq!(at(&kept(&mut pager, &unasked)), At::Cursor("a".into()));
}

#[test]
fn who_looks_back_sees_rows_that_nobody_asked_for() {
    let mut pager = pager(Reach { by_time: false, shifts: true, numbers: true, ..REACH });
    // Newer rows only, of which one more comes in meanwhile.
    kept(&mut pager, &Facts { digests: Vec::new(), ..page(1, Next::Unknown) });
    kept(&mut pager, &Facts { is_past_piece: true, ..page(2, Next::Unknown) });
    assert!(pager.answered(&Facts { digests: Vec::new(), ..page(3, Next::Unknown) }, 10).drops_pass);
}

#[test]
fn a_walk_that_is_taken_up_goes_on_in_its_pass() {
    let mut pager = Pager::resumed(piece(), REACH, 3);
    assert_eq!(pager.pass(), 3);
    assert!(matches!(pager.lost_place().step, Step::Gap(_)), "there is no fourth");
}
