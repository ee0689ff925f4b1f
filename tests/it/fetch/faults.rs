//! What can go wrong, where and how often.

use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What happens to one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 429 with a `Retry-After` of one second.
    RateLimitHeader,
    /// 429 that asks for one second in its body.
    RateLimitBody,
    /// 500.
    ServerError,
    /// 503 with a page for people.
    Unavailable,
    /// 200 with a page for people.
    Html,
    /// The connection ends without an answer.
    HangUp,
    /// The connection ends in the middle of the body.
    CutShort,
    /// Said to be gzip, and is not.
    NotGzip,
    /// 302 to another host.
    Redirect,
    /// No answer ever.
    Silence,
    /// The rows of the page before, with the cursor of this one.
    PageRepeated,
    /// The next cursor is the one that was asked for.
    CursorRepeated,
    /// No rows, and there is more. The next cursor stands for the same place. Not where a page is a bare array.
    EmptyPage,
    /// Up to two trades from outside of the time that was asked for, on top of the page's own.
    OutsideRows,
    /// The count of all rows is too high by seven.
    TotalWrong,
    /// Up to five of the next page's rows, too.
    TooMany,
    /// Half of the rows, although there is more.
    TooFew,
    /// Three trades are new at the top of what is paged by offset, and stay known.
    Shifted,
    /// The rows are in another order.
    Disordered,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 19] = {
        use Fault::*;
        [
            RateLimitHeader,
            RateLimitBody,
            ServerError,
            Unavailable,
            Html,
            HangUp,
            CutShort,
            NotGzip,
            Redirect,
            Silence,
            PageRepeated,
            CursorRepeated,
            EmptyPage,
            OutsideRows,
            TotalWrong,
            TooMany,
            TooFew,
            Shifted,
            Disordered,
        ]
    };

    /// Whether a true answer is changed by it; else it takes the answer's place.
    pub fn is_of_page(self) -> bool {
        self >= Fault::PageRepeated
    }
}

#[derive(Clone, Debug)]
struct Rule {
    fault: Fault,
    /// A part of the request line.
    line: String,
    share: f64,
    is_for_ever: bool,
}

/// Which faults happen. Which request they happen to hangs on the seed, its line, and how often that line came.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    seed: u64,
    most: u32,
    rules: Vec<Rule>,
    came: BTreeMap<String, u64>,
    failed: BTreeMap<String, u32>,
}

impl Faults {
    /// None yet. The same request line fails at most so often, so that whoever repeats it gets through.
    pub fn new(seed: u64, most: u32) -> Faults {
        Faults { seed, most, ..Faults::default() }
    }

    /// This share of all requests.
    pub fn with(self, fault: Fault, share: f64) -> Faults {
        self.on("", fault, share)
    }

    /// This share of the requests whose line has this part.
    pub fn on(mut self, line: &str, fault: Fault, share: f64) -> Faults {
        self.rules.push(Rule { fault, line: line.into(), share, is_for_ever: false });
        self
    }

    /// Every request whose line has this part, however often it comes.
    pub fn for_ever(mut self, line: &str, fault: Fault) -> Faults {
        self.rules.push(Rule { fault, line: line.into(), share: 1.0, is_for_ever: true });
        self
    }

    /// What is to happen to the next request of this line: the first rule that meets it.
    pub fn draw(&mut self, line: &str) -> Option<Fault> {
        let came = self.came.entry(line.into()).or_default();
        *came += 1;
        let mut rng = Rng::with_seed(xxh3_64_with_seed(line.as_bytes(), self.seed.wrapping_add(*came << 32)));
        let may = self.failed.get(line).is_none_or(|failed| *failed < self.most);
        let mut drawn = None;
        for rule in &self.rules {
            // Drawn for every rule, so that one does not change what the next ones meet.
            let is_hit = rng.f64() < rule.share && line.contains(&rule.line) && (may || rule.is_for_ever);
            drawn = drawn.or(is_hit.then_some(rule.fault));
        }
        drawn
    }

    /// It could happen, and did.
    pub fn note(&mut self, line: &str) {
        *self.failed.entry(line.into()).or_default() += 1;
    }
}

/// What is odd about one row, every time that it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFault {
    /// Its time is an object.
    WrongType,
    /// A number is a text. It has to land.
    TextNumber,
    /// A field that nobody knows. It has to land.
    UnknownField,
    /// It has no transaction.
    MissingKey,
    /// Bytes in its title that are no UTF-8. Happens to one row only.
    NotUtf8,
}

impl RowFault {
    /// Whether the row is as good as without it.
    pub fn lands(self) -> bool {
        matches!(self, RowFault::TextNumber | RowFault::UnknownField)
    }

    /// Does it to a row of any of the three forms.
    pub fn spoil(self, row: &mut Value) {
        let fields = row.as_object_mut().unwrap();
        let mut change = |names: &[&str], change: &dyn Fn(&Value) -> Value| {
            for name in names {
                if let Some(value) = fields.get_mut(*name) {
                    *value = change(value);
                }
            }
        };
        match self {
            RowFault::WrongType => change(&["timestamp"], &|_| json!({ "a": 1 })),
            RowFault::TextNumber => change(&["shares", "size"], &|value| json!(value.to_string())),
            RowFault::NotUtf8 => change(&["title"], &|value| json!(format!("{}{MARK}", value.as_str().unwrap()))),
            RowFault::UnknownField => {
                fields.insert("fee_rate_bps".into(), json!({ "taker": 0 }));
            }
            RowFault::MissingKey => {
                fields.retain(|name, _| !["tx_hash", "transactionHash", "transaction_hash"].contains(&name.as_str()));
            }
        }
    }
}

/// Stands in a text where bytes shall be that no text can have.
const MARK: char = '\u{e000}';

/// The bytes of an answer, with what no text can have.
pub fn bytes(text: &str) -> Vec<u8> {
    let parts: Vec<&[u8]> = text.split(MARK).map(str::as_bytes).collect();
    parts.join(&[0xff, 0xc3, 0x28][..])
}
