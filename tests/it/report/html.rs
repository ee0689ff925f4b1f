//! The page about duplicates, as text. What a browser makes of it is in `browser`.

use super::examples::{FIRST, HOSTILE, analysis_html, counted, full, messy, nothing};
use tradefold::dedup::{KeyCount, Tally};
use tradefold::report::{Analysis, RunRows, analysis_text};
use tradefold::window::Day;

/// The text of a page up to the embedded JSON, and the JSON.
fn split(html: &str) -> (&str, &str) {
    let (page, rest) = html.split_once("<script type=\"application/json\" id=\"report\">").unwrap();
    (page, rest.strip_suffix("</script>\n</body>\n</html>\n").unwrap())
}

#[test]
fn nothing_of_the_data_becomes_markup_and_what_can_not_be_seen_is_shown() {
    let report = messy();
    let html = analysis_html(&report);
    let (page, json) = split(&html);
    assert!(!page.contains("<script") && !page.contains("<!--") && page.matches("</title>").count() > 5, "markup");
    assert!(!json.contains('<'), "the block of data can't be left");
    assert_eq!(serde_json::from_str::<Analysis>(json).unwrap(), report, "and has everything");
    let shown = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;quotes&quot; &lt;/title&gt;&lt;!-- \
                 [U+202E]txt.exe[U+2066] a[U+200B]b [U+0000][U+000A][U+FEFF]";
    // In the key, the order, by input, rejects, the largest group, keys nearly the same, groups and advice.
    assert!(page.matches(shown).count() >= 14, "{} times", page.matches(shown).count());
    // What turns a line around is in none of the texts; attributes that name a place in the JSON have it as it is.
    let texts: String = page.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, text)| text).collect();
    assert!(!texts.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\0']), "an unseen mark");
}

#[test]
fn nothing_of_the_data_gets_into_the_text_report_as_it_is_either() {
    let mut report = messy();
    report.census.largest[0].key = vec![Some("a\n  99  other\u{1b}[31m".into()), Some(String::new()), None];
    let text = analysis_text(&report);
    assert!(text.contains("  a\\n  99  other\\u{1b}[31m '' NULL\n"), "{text}");
    let odd = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}\u{200b}\u{200f}\u{feff}".contains(c);
    assert!(!text.contains(odd), "{text:?}");
    // In the key, the order, by file, rejects, a key, those nearly the same, columns, advice and runs.
    let shown = "\\u{202e}txt.exe\\u{2066} a\\u{200b}b \\u{0}\\n\\u{feff}";
    assert!(text.matches(shown).count() >= 14, "{} times", text.matches(shown).count());
    report = full(3);
    report.groups[0].shown[0].1[0] = Some("wide".repeat(50));
    assert!(!analysis_text(&report).contains(&"wide".repeat(11)), "40 characters of a value");
}

#[test]
fn a_long_value_is_cut_with_a_note_and_says_where_it_differs_only_further_on() {
    let html = analysis_html(&messy());
    let (page, json) = split(&html);
    assert!(page.contains("long  … (9,669 more characters)"), "10,000, {} more, less 400", HOSTILE.chars().count());
    assert!(!page.contains(&"long ".repeat(81)), "400 characters are shown, at most");
    assert!(json.contains(&"long ".repeat(2_000)));
    assert_eq!(page.matches("<em>differs further on</em>").count(), 1);
    assert!(page.len() < 150_000, "{} bytes", page.len());
}

#[test]
fn numbers_are_written_as_in_the_text_report_and_add_up_before_the_eye() {
    let report = full(90);
    let html = analysis_html(&report);
    let text = |number: u64| {
        let digits = number.to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    };
    let losers = report.census.losers;
    let winners = text(report.keys);
    for (pointer, number) in [("/rows", report.rows), ("/balance/winners", report.keys), ("/sizes/480", 1)] {
        let expected = format!("data-path=\"{pointer}\">{}<", text(number));
        assert!(html.contains(&expected), "{expected}");
    }
    let [exact, superseded, conflict] = [losers.exact, losers.superseded, losers.conflict].map(text);
    let sum =
        format!("Landed: {} = {exact} + {superseded} + {conflict} + 0 + {winners}. It adds up.", text(report.rows));
    assert!(html.contains(&sum), "{sum}");
    assert!(html.contains("decide about the key before anything is removed. The rows of 321 keys"));
    let mut wrong = report.clone();
    wrong.balance.winners -= 1;
    let html = analysis_html(&wrong);
    assert!(html.contains("It does not add up.") && html.contains("Read: "), "a hole is told");
    for (name, html) in [("full", analysis_html(&report)), ("empty", analysis_html(&nothing()))] {
        assert!(!html.contains("NaN") && !html.contains("inf%"), "{name}");
    }
}

#[test]
fn what_to_do_follows_from_what_was_found() {
    let advice = |report: &Analysis| {
        let html = analysis_html(report);
        let (_, rest) = html.split_once("What to do: </strong>").unwrap();
        rest.split_once("</p>").unwrap().0.to_string()
    };
    let plain = |tally: Tally| {
        let mut report = nothing();
        (report.rows, report.keys) = (100, 100 - tally.total());
        (report.balance.losers, report.balance.winners, report.balance.landing.landed) = (tally, report.keys, 100);
        report
    };
    let of = |exact, superseded, conflict| advice(&plain(Tally { exact, superseded, conflict }));
    assert_eq!(advice(&nothing()), "see whether these are the files that were meant.");
    assert_eq!(of(0, 0, 0), "nothing has to be removed.");
    assert!(of(5, 0, 0).contains("exact copies, so nothing is lost"));
    assert!(of(5, 1, 0).contains("highest in the order"));
    assert!(of(5, 1, 1).starts_with("look at the 1 conflict first"));
    let mut report = plain(Tally { exact: 5, ..Tally::default() });
    report.near.by_case.groups = 1;
    report.balance.landing.rejected = 1;
    assert!(advice(&report).contains("nearly the same") && advice(&report).contains("1 row can&#39;t be used"));
    report.balance.suspect = KeyCount { keys: 1, rows: 2 };
    assert!(advice(&report).starts_with("decide about the key before anything is removed. The rows of 1 key are"));
}

#[test]
fn what_was_not_found_is_said_in_a_sentence_and_has_no_chart() {
    let html = analysis_html(&nothing());
    assert!(!html.contains("role=\"img\""), "an empty chart");
    for sentence in [
        "There are no rows.",
        "There are no duplicates to tell apart.",
        "The rows have no day",
        "There are no inputs.",
        "Keys were not counted by their rows.",
        "There are no copies.",
        "The parts of the key were not looked at.",
        "No keys were found that are the same but for case",
        "No rows are shown.",
        "No other keys were tried.",
    ] {
        assert!(html.contains(sentence), "{sentence}");
    }
    let mut unique = counted(2, 1);
    unique.sizes = [(1, unique.keys)].into();
    let html = analysis_html(&unique);
    assert!(html.contains("No key has more than one row; there are "), "one size");
    assert!(html.contains("How far copies lie apart was not counted."), "and not that there are none");
}

/// The rows of a table, each as the numbers in it.
fn table(html: &str, caption: &str) -> Vec<(String, Vec<u64>)> {
    let (_, rest) = html.split_once(&format!("<caption>{caption}</caption>")).unwrap();
    let body = rest.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
    let inside = |cell: &str| cell.split_once('>').unwrap().1.to_string();
    let row = |row: &str| {
        let name = inside(row.split_once("<th scope").unwrap().1.split_once("</th>").unwrap().0);
        let numbers = row.split("<td class=\"number\"").skip(1);
        let numbers = numbers.map(|cell| inside(cell.split_once("</td>").unwrap().0).replace(',', "").parse().unwrap());
        (name, numbers.collect())
    };
    body.split("</tr>").filter(|text| text.contains("<th")).map(row).collect()
}

#[test]
fn days_are_put_together_where_there_are_many_and_no_row_is_lost_by_it() {
    for (days, note, bars, first) in [
        (120, "", 120, "2024-01-01"),
        (121, "each bar is a week", 18, "2024-01-01"),
        (840, "each bar is a week", 120, "2024-01-01"),
        (3_000, "each bar is a month", 99, "2024-01"),
        (40_000, "each bar is a year", 110, "2024"),
        (80_000, "each bar is several years", 110, "2024–2025"),
    ] {
        let report = counted(days, 3);
        let html = analysis_html(&report);
        assert!(html.contains(note) && (!note.is_empty() || !html.contains("each bar is")), "{days}");
        let rows = table(&html, "rows over time");
        assert_eq!((rows.len(), rows[0].0.as_str()), (bars, first), "{days}");
        let sum = |at: usize| rows.iter().map(|(_, numbers)| numbers[at]).sum::<u64>();
        let losers = report.census.losers;
        assert_eq!([sum(0), sum(1), sum(2), sum(3)], [report.rows, losers.exact, losers.superseded, losers.conflict]);
        let chart = html.split_once("id=\"days-chart-title\"").unwrap().1.split_once("</svg>").unwrap().0;
        assert_eq!(chart.matches("<g>").count(), bars, "{days}");
        assert!(split(&html).0.len() < 250_000, "{} bytes for {days} days", split(&html).0.len());
    }
}

#[test]
fn days_that_are_far_apart_leave_room_between_them_and_odd_ones_do_not_break_the_page() {
    let mut report = counted(2, 1);
    report.rows_by_day = [(Day(FIRST), 3), (Day(FIRST + 9), 4)].into();
    let html = analysis_html(&report);
    let chart = html.split_once("id=\"days-chart-title\"").unwrap().1.split_once("</svg>").unwrap().0;
    assert_eq!((chart.matches("<g>").count(), table(&html, "rows over time").len()), (10, 2));
    for odd in [Day(i32::MIN), Day(i32::MAX), Day(-719_529), Day(2_932_897)] {
        report.rows_by_day.insert(odd, 5);
        let html = analysis_html(&report);
        let rows = table(&html, "rows over time");
        assert_eq!(rows.iter().map(|(_, numbers)| numbers[0]).sum::<u64>(), report.rows_by_day.values().sum::<u64>());
        assert!(html.matches("class=\"reach\"").count() <= 120, "{odd:?}");
    }
}

#[test]
fn of_many_inputs_those_with_most_duplicates_are_shown_and_the_others_are_a_sum() {
    let mut report = counted(30, 10_000);
    let worst = "file:///data/exports/2024/trades/run-04711/part-00000-of-00017.snappy.parquet".to_string();
    *report.rows_by_file.get_mut(&worst).unwrap() += 5_000;
    report.census.by_file.get_mut(&worst).unwrap().conflict += 5_000;
    let html = analysis_html(&report);
    let rows = table(&html, "rows by input");
    assert_eq!(rows.len(), 51);
    assert!(html.contains("The 50 with the most duplicates are shown, of 10,000 inputs."));
    assert_eq!(rows[50].0, "9,950 other inputs");
    assert!(rows[..3].iter().any(|(name, _)| name.starts_with("run-04711/")), "{rows:?}");
    let losers = |numbers: &[u64]| numbers[1..4].iter().sum::<u64>();
    assert!(rows[..50].windows(2).all(|pair| losers(&pair[0].1) >= losers(&pair[1].1)), "the worst come first");
    let sum = |at: usize| rows.iter().map(|(_, numbers)| numbers[at]).sum::<u64>();
    assert_eq!(sum(0), report.rows_by_file.values().sum::<u64>());
    assert_eq!(sum(3), report.census.by_file.values().map(|tally| tally.conflict).sum::<u64>());
    assert!(html.contains("All of them are below <code>/data/exports/2024/trades/</code>."));
    assert!(split(&html).0.len() < 150_000, "{} bytes beside the JSON", split(&html).0.len());
}

#[test]
fn of_many_values_of_a_column_those_with_most_rows_are_shown_and_no_row_is_lost_by_it() {
    let mut report = full(3);
    let runs = report.by_run.as_mut().unwrap();
    let first = runs.told[0].clone();
    runs.told =
        (0..1_000).map(|at| RunRows { rows: 10_000 - at, value: Some(format!("run {at}")), ..first.clone() }).collect();
    let rows: u64 = runs.told.iter().map(|run| run.rows).sum::<u64>() + runs.others.rows;
    let html = analysis_html(&report);
    let table = table(&html, "rows by the values of a column");
    assert_eq!((table.len(), table[0].0.as_str(), table[50].0.as_str()), (51, "run 0", "5,950 other values"));
    assert_eq!(table.iter().map(|(_, numbers)| numbers[0]).sum::<u64>(), rows);
    assert!(html.contains("By the values of a column") && html.contains("href=\"#runs\""));
    assert!(html.contains("href=\"#suggestion\"") && html.contains("The key was found, not given"));
    for html in [analysis_html(&nothing()), analysis_html(&counted(3, 1))] {
        let page = split(&html).0;
        assert!(!page.contains("#runs") && !page.contains("suggest"), "what was not asked for has no section");
    }
}

#[test]
fn many_sizes_are_put_together_to_bars_and_no_key_is_lost_by_it() {
    let mut report = full(3);
    report.sizes = (1..=2_000).map(|rows| (rows, 3_000 - rows)).collect();
    let html = analysis_html(&report);
    let chart = html.split_once("id=\"sizes-chart-title\"").unwrap().1.split_once("</svg>").unwrap().0;
    let labels: Vec<&str> =
        chart.split("<text x=\"0\"").skip(1).map(|text| text.split(['>', '<']).nth(1).unwrap()).collect();
    let expected = ["2 rows", "3 rows", "4 rows", "5 to 9 rows", "10 to 19 rows", "20 to 49 rows", "50 to 99 rows"];
    assert_eq!((&labels[..7], labels.last()), (&expected[..], Some(&"2,000 to 4,999 rows")));
    let rows = table(&html, "keys by the number of their rows");
    assert_eq!((rows.len(), rows[100].0.as_str()), (101, "more"));
    let [keys, all] = [0, 1].map(|at: usize| rows.iter().map(|(_, numbers)| numbers[at]).sum::<u64>());
    assert_eq!(keys, report.sizes.values().sum::<u64>());
    assert_eq!(all, report.sizes.iter().map(|(rows, keys)| rows * keys).sum::<u64>());
}

#[test]
fn columns_that_differ_are_marked_by_a_sign_a_word_and_a_line_and_come_first() {
    let html = analysis_html(&full(3));
    let (_, groups) = html.split_once("id=\"groups\"").unwrap();
    let groups = groups.split_once("</section>").unwrap().0;
    let (differing, same) = groups.split_once("Same in all rows that are shown: ").unwrap();
    for column in ["price", "timestamp", "title"] {
        let marked = format!("≠ </span><span class=\"unseen\">differs: </span><span class=\"value\">{column}</span>");
        assert!(differing.contains(&marked), "{column}");
    }
    assert!(same.starts_with("wallet_address, tx_hash, order_hash, side, shares<"), "{}", &same[..80]);
    // The second price, the third time, the second and the third title.
    assert_eq!(groups.matches("<mark>").count(), 4);
    assert!(groups.contains("<mark><em>NULL</em></mark>") && groups.contains("<mark><em>empty text</em></mark>"));
    assert!(groups.contains("480</span> rows; the first 3 are shown."));
    assert!(groups.contains("The rows that are shown are the same in every column."));
}
